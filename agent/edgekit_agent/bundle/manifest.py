"""The manifest of a bundle, schema 1: what the model is, where and how it runs, and every file with its digest."""

import hashlib
import json
import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from edgekit_agent import runtimes
from edgekit_agent.bundle.versions import ranges
from edgekit_agent.errors import AgentError, BundleError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.protocol.codec import MAX_MESSAGE_BYTES, Message, told
from edgekit_agent.runtimes.base import TensorSpec

SCHEMA = 1
MANIFEST, DIGEST = "manifest.json", "manifest.sha256"
MOST_MANIFEST_BYTES = MAX_MESSAGE_BYTES
MOST_FILES = 256
MOST_BYTES = 1 << 31
"""What the files of a bundle may be together, unless the caller says otherwise."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor(Message):
    """An input or output as the model stores it: real = (stored - zero_point) * scale."""

    name: str = told("As the artifact calls it.")
    dtype: str = told("NumPy's name of its type.")
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
    versions: str = told("Such as `>=2.3,<3`; empty for any version.", default="")
    device: str = told(
        "The runtime's name of what it is to run on.", pattern=r"[A-Za-z0-9_.:,()-]{1,64}", default="CPU"
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class GoldenArray(Message):
    """An array of golden values in a file of its own: little-endian, in C order, without a header."""

    name: str = told("The input or output it belongs to.")
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

    made_with: str = told("The runtime that gave the outputs, with its version.")
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
    precision: str | None = told("Such as int8, as `edgekit convert` names it.", default=None)
    inputs: tuple[Tensor, ...] = told("In the artifact's order.")
    outputs: tuple[Tensor, ...] = told("In the artifact's order.")
    preprocess: Mapping[str, object] = told("How an image, a sound or a row becomes an input.", default_factory=dict)
    postprocess: Mapping[str, object] = told("How outputs become an answer.", default_factory=dict)
    golden: Golden = told("What a device proves the model with before it serves.")
    bounds: Bounds = told("What the model may take on a device.", default_factory=Bounds)
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


def parse(text: bytes, most_bytes: int = MOST_BYTES) -> Manifest:
    """Read a manifest and check everything that can be checked without the files.

    Args:
        text: the document.
        most_bytes: what the files may be together.

    Raises:
        BundleError: naming what is wrong.
    """
    if len(text) > MOST_MANIFEST_BYTES:
        raise BundleError(f"the manifest has {len(text)} bytes, more than {MOST_MANIFEST_BYTES}")
    try:
        body = json.loads(text, object_pairs_hook=_once, parse_constant=_no_constant)
    except (ValueError, RecursionError) as exc:
        raise BundleError(f"the manifest is no JSON: {exc}") from exc
    schema = body.get("schema") if isinstance(body, dict) else None
    if type(schema) is not int or schema != SCHEMA:
        error = BundleError(f"the manifest has schema {str(schema)[:40]}, and this version reads {SCHEMA}")
        error.add_note("update EdgeKit here, or make the bundle with the same version")
        raise error
    try:
        manifest = Manifest.from_json(body)
        Preprocess.from_mapping(manifest.preprocess)
    except AgentError as exc:
        raise BundleError(f"the manifest is wrong: {exc}") from exc
    _check_files(manifest, most_bytes)
    _check_golden(manifest)
    _check_runtimes(manifest)
    return manifest


def digest_text(text: bytes) -> bytes:
    """Return what stands in `manifest.sha256`: a line as `sha256sum` writes it."""
    return f"{hashlib.sha256(text).hexdigest()}  {MANIFEST}\n".encode()


def _once(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key stands there twice")  # two readers could take another of them
    return found


def _no_constant(name: str) -> object:
    raise ValueError(f"{name} is not JSON")


def _check_files(manifest: Manifest, most_bytes: int) -> None:
    files = manifest.files
    if not 0 < len(files) <= MOST_FILES:
        raise BundleError(f"the manifest names {len(files)} files, and a bundle has 1 to {MOST_FILES}")
    _refuse_twice([one.name.lower() for one in files] + [MANIFEST, DIGEST], "file")
    if manifest.size_bytes > most_bytes:
        raise BundleError(f"the files are {manifest.size_bytes} bytes together, more than {most_bytes}")
    roles = {one.name: one.role for one in files}
    if roles.get(manifest.artifact) != "artifact":
        raise BundleError(f"the artifact '{manifest.artifact}' is none of the files, or has another role")
    for role in ("labels", "report"):
        if sum(one.role == role for one in files) > 1:
            raise BundleError(f"the manifest names more than one file as {role}")


def _check_golden(manifest: Manifest) -> None:
    golden = manifest.golden
    arrays = (*golden.inputs, *golden.outputs)
    for side, given, tensors in (
        ("inputs", golden.inputs, manifest.inputs),
        ("outputs", golden.outputs, manifest.outputs),
    ):
        if not tensors or [(one.name, one.dtype) for one in given] != [(one.name, one.dtype) for one in tensors]:
            raise BundleError(f"the golden {side} are not those of the model")
        _refuse_twice([one.name for one in tensors], side[:-1])
    if len({one.shape[:1] for one in arrays}) != 1 or not arrays[0].shape or not arrays[0].shape[0]:
        raise BundleError("the golden arrays do not have the same number of runs, at least one")
    sizes = {one.name: one.size for one in manifest.files if one.role == "golden"}
    if sorted(one.file for one in arrays) != sorted(sizes):
        raise BundleError("the golden arrays are not one for each file of that role")
    for one in arrays:
        if one.size_bytes != sizes[one.file]:
            raise BundleError(f"golden file '{one.file}' has {sizes[one.file]} bytes, and its array {one.size_bytes}")
    allowed = golden.tolerance
    if sorted(allowed) != sorted(one.name for one in golden.outputs) or any(one < 0 for one in allowed.values()):
        raise BundleError("the golden tolerance is not a number of 0 or more for each output")


def _check_runtimes(manifest: Manifest) -> None:
    form = runtimes.FORMATS.get(Path(manifest.artifact).suffix)
    if not manifest.runtimes:
        raise BundleError("the manifest names no runtime")
    for one in manifest.runtimes:
        ranges(one.versions)
        if one.name in runtimes.RUNTIMES and form not in runtimes.get(one.name).formats:
            raise BundleError(f"runtime '{one.name}' does not run the artifact '{manifest.artifact}'")


def _refuse_twice(names: Collection[str], what: str) -> None:
    seen: set[str] = set()
    for name in names:
        if name in seen:
            raise BundleError(f"the manifest names {what} '{name}' twice")
        seen.add(name)
