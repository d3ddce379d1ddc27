"""The port every inference runtime implements."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from edgekit_agent.errors import InputDataError, ModelError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]
else:
    Array = Any


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output: `shape` has -1 where a dimension is free, `dtype` is NumPy's name.

    `scale` and `zero_point` are empty for float tensors; one pair, or one a channel along `axis`:
    real = (stored - zero_point) * scale.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()
    axis: int = 0

    def takes(self, shape: Sequence[int]) -> bool:
        """Say whether an array of this shape fits."""
        return len(shape) == len(self.shape) and all(
            own in {-1, given} for own, given in zip(self.shape, shape, strict=True)
        )


def named_feeds(arrays: Sequence[Array], inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return arrays in the order of the inputs by the inputs' names.

    Raises:
        InputDataError: if there are more or fewer, or one has another dtype or a shape that does not fit.
    """
    if len(arrays) != len(inputs):
        raise InputDataError(f"{len(arrays)} arrays were given and the model has {len(inputs)} inputs")
    for spec, array in zip(inputs, arrays, strict=True):
        if array.dtype != spec.dtype or not spec.takes(array.shape):
            shape = tuple("?" if size == -1 else size for size in spec.shape)
            raise InputDataError(f"input '{spec.name}' takes {spec.dtype}{shape}, not {array.dtype}{array.shape}")
    return {spec.name: array for spec, array in zip(inputs, arrays, strict=True)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Availability:
    """Whether a runtime can be used here; `version` when it can, `reason` and `hint` when not."""

    ok: bool
    version: str = ""
    reason: str = ""
    hint: str = ""


CPU = "CPU"
Property = str | int | float | bool


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadOptions:
    """How a model is to be loaded; a runtime refuses what it cannot do and ignores nothing."""

    threads: int = 1
    """CPU threads of one inference."""
    device: str = CPU
    """The runtime's own name of what is to run it: `CPU`, `NPU`, `AUTO:GPU,CPU`, `CUDA`."""
    batch: int = 1
    """What a free first dimension is fixed to."""
    delegate: Path | None = None
    """A shared library that takes operators from a TFLite runtime."""
    delegate_options: Mapping[str, str] = field(default_factory=dict)
    properties: Mapping[str, Property] = field(default_factory=dict)
    """Properties of the runtime by its own names, above those that are set here."""
    cache: Path | None = None
    """A folder for what compiling this model for this device gives, where the runtime can keep it."""

    def only(self, runtime: str, *taken: str) -> None:
        """Refuse what the runtime has no use of.

        Raises:
            ModelError: naming the first of `delegate`, `properties` that is given and not among `taken`.
        """
        for name in ("delegate", "properties"):
            if getattr(self, name) and name not in taken:
                raise ModelError(f"{runtime} takes no {name}")


PLAIN = LoadOptions()


class Session(Protocol):
    """A loaded model. Not thread-safe: one session a thread."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    runtime: str
    """Name and version, e.g. `tflite-runtime 2.14.0`."""

    @property
    def executed_on(self) -> tuple[str, ...]:
        """Devices that really execute, e.g. `("CPU",)`; they may change while the model runs (OpenVINO's AUTO)."""
        ...

    @property
    def operators(self) -> Mapping[str, int]:
        """How many operators each of a runtime's parts executes: `{"XNNPACK": 13, "CPU": 1}`; empty where unknown."""
        ...

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once with one array an input, in the order of `inputs`; return the outputs in order.

        The arrays have the inputs' dtypes (stored values for quantized inputs) and shapes.

        Raises:
            InputDataError: if an array does not fit its input.
            ModelError: if the runtime fails.
        """
        ...

    def close(self) -> None:
        """Free the model."""
        ...


class Runtime(Protocol):
    """A library that runs models on this machine. Making one imports nothing heavy."""

    name: str
    formats: tuple[str, ...]
    """File formats it runs: `tflite`, `openvino`, `onnx`."""

    def available(self) -> Availability:
        """Say whether the library is importable here, importing only what that takes."""
        ...

    def load(self, model: Path, options: LoadOptions = PLAIN) -> Session:
        """Load a model; a free first dimension is fixed to `batch` and other free dimensions stay free.

        Raises:
            ModelError: if the file is missing, broken, or holds an op the runtime does not have, or if the runtime
                does not have what the options ask for.
            RuntimeMissingError: if the library is not importable.
        """
        ...


@runtime_checkable
class Pooling(Protocol):
    """A runtime whose sessions share one loaded model; without it as many are loaded as are to run at a time."""

    def load_pool(self, model: Path, count: int, options: LoadOptions = PLAIN) -> Sequence[Session]:
        """Load a model once, for as many sessions with `options.threads` each; errors are those of `Runtime.load`."""
        ...
