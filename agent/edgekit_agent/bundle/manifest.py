"""The manifest of a bundle, schema 1: what the model is, where and how it runs, and every file with its digest."""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgekit_agent.baseline import Baseline
from edgekit_agent.protocol.codec import Message, told
from edgekit_agent.runtimes.base import TensorSpec

SCHEMA = 1

ROLES = ("artifact", "golden", "labels", "report")
ITEM_BYTES: Mapping[str, int] = MappingProxyType(
    {
        "bool": 1, "int8": 1, "uint8": 1, "int16": 2, "uint16": 2, "float16": 2, "int32": 4, "uint32": 4,
        "float32": 4, "int64": 8, "uint64": 8, "float64": 8,
    }
)  # fmt: skip
"""What golden arrays may hold, by NumPy's names, and the bytes of one value; little-endian."""

_MODEL = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_FILE = r"[A-Za-z0-9_][A-Za-z0-9._-]{0,98}"
_SHA256 = r"[0-9a-f]{64}"
_NUMBER = r"(0|[1-9][0-9]{0,8})"
_SEMVER = rf"{_NUMBER}\.{_NUMBER}\.{_NUMBER}(-[0-9A-Za-z.-]{{1,32}})?(\+[0-9A-Za-z.-]{{1,32}})?"
_HARDWARE = r"[a-z0-9][a-z0-9._-]{0,63}"
_RUNTIME = r"[a-z0-9][a-z0-9-]{0,63}"
_WORDS = r"[^\x00-\x1f\x7f-\x9f]{0,512}"
"""What may be shown on a terminal as it is."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor(Message):
    """An input or output as the model stores it: real = (stored - zero_point) * scale."""

    name: str = told("As the artifact calls it.", pattern=_WORDS)
    dtype: str = told("NumPy's name of its type.", pattern=r"[a-z0-9]{1,32}")
    shape: tuple[int, ...] = told("Of one inference; -1 where a dimension is free.", minimum=-1)
    scale: tuple[float, ...] = told("One, or one a channel along `axis`; empty where it is not quantized.", default=())
    zero_point: tuple[int, ...] = told("As many as there are scales.", default=())
    axis: int = told("The axis of the channels.", minimum=0, default=0)

    def spec(self) -> TensorSpec:
        """Return it as runtimes describe theirs."""
        return TensorSpec(
            name=self.name,
            shape=self.shape,
            dtype=self.dtype,
            scale=self.scale,
            zero_point=self.zero_point,
            axis=self.axis,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleFile(Message):
    """A file of the bundle."""

    name: str = told("A plain name, no path.", pattern=_FILE)
    role: str = told(f"One of: {', '.join(ROLES)}.", pattern="|".join(ROLES))
    size: int = told("In bytes.", minimum=0)
    sha256: str = told("Of its bytes, hexadecimal.", pattern=_SHA256)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuntimeRange(Message):
    """A runtime that may run the artifact."""

    name: str = told("As the agent calls it; names it does not know are passed over.", pattern=_RUNTIME)
    versions: str = told("Such as `>=2.3,<3`; empty for any version.", pattern=_WORDS, default="")
    device: str = told(
        "The runtime's name of what it is to run on.", pattern=r"[A-Za-z0-9_.:,()-]{1,64}", default="CPU"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenArray(Message):
    """An array of golden values in a file of its own: little-endian, in C order, without a header."""

    name: str = told("The input or output it belongs to.", pattern=_WORDS)
    file: str = told("The file's name.", pattern=_FILE)
    dtype: str = told("NumPy's name of its type: the tensor's own, values as stored.", pattern="|".join(ITEM_BYTES))
    shape: tuple[int, ...] = told("The number of runs, then the shape of one.", minimum=0)

    @property
    def size_bytes(self) -> int:
        """What the file has to hold."""
        return ITEM_BYTES[self.dtype] * math.prod(self.shape)


@dataclass(frozen=True, slots=True, kw_only=True)
class Golden(Message):
    """Inputs with the outputs the artifact gave for them where the bundle was made."""

    made_with: str = told("The runtime that gave the outputs, with its version.", pattern=_WORDS)
    inputs: tuple[GoldenArray, ...] = told("One for each input.")
    outputs: tuple[GoldenArray, ...] = told("One for each output.")
    tolerance: Mapping[str, float] = told("By how much an output's real values may differ on a device.")


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds(Message):
    """What the model may take on the hardware it is for; what is left out is not bounded."""

    p50_ms: float | None = told("The median latency of an inference.", minimum=0, default=None)
    p99_ms: float | None = told("The 99th percentile of the latency.", minimum=0, default=None)
    memory_bytes: int | None = told("The resident size of the process that runs it.", minimum=0, default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest(Message):
    """The manifest of an EdgeKit bundle (`.ekb`)."""

    schema: int = told("Of this document; readers refuse a number they do not know.", minimum=1)
    model: str = told("The model's name; updates replace a model of the same name.", pattern=_MODEL)
    version: str = told("Semantic version, for people.", pattern=_SEMVER)
    counter: int = told("The release counter: a device refuses one lower than it has had.", minimum=0)
    hardware: tuple[str, ...] = told("Hardware it is for; empty for any.", pattern=_HARDWARE, default=())
    runtimes: tuple[RuntimeRange, ...] = told("What may run it; the first that is there is taken.")
    artifact: str = told("The file that the runtime opens.", pattern=_FILE)
    precision: str | None = told("Such as int8, as `edgekit convert` names it.", pattern=_WORDS, default=None)
    inputs: tuple[Tensor, ...] = told("In the artifact's order.")
    outputs: tuple[Tensor, ...] = told("In the artifact's order.")
    preprocess: Mapping[str, object] = told("How an image, a sound or a row becomes an input.", default_factory=dict)
    postprocess: Mapping[str, object] = told("How outputs become an answer.", default_factory=dict)
    golden: Golden = told("What a device proves the model with before it serves.")
    bounds: Bounds = told("What the model may take on a device.", default_factory=Bounds)
    baseline: Baseline | None = told("Inputs and answers on the data the model was judged on.", default=None)
    threads: int | None = told("Of one inference; left to the device where it is left out.", minimum=1, default=None)
    streams: int | None = told("Inferences at a time; left to the device too.", minimum=1, default=None)
    files: tuple[BundleFile, ...] = told("Every file, in the order in which they lie in the bundle.")

    def __str__(self) -> str:
        """Return the model's name and version."""
        return f"{self.model} {self.version}"

    @property
    def size_bytes(self) -> int:
        """What its files are together."""
        return sum(one.size for one in self.files)

    def file_of(self, role: str) -> str | None:
        """Return the name of the file with a role that only one has: labels, report."""
        return next((one.name for one in self.files if one.role == role), None)

    def to_text(self) -> bytes:
        """Return the document as JSON a person can read."""
        return json.dumps(self.to_json(), indent=1, allow_nan=False).encode() + b"\n"
