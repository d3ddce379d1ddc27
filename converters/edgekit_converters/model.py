"""What is known of a model before and after conversion."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.generic]
else:
    Array = Any

Arrays = Mapping[str, Array]
"""Arrays by input or output name; the first axis counts samples."""


def said(shape: Sequence[int | str | None]) -> str:
    """Return a shape as people write it: `?x49x10x1`."""
    return "x".join("?" if size is None else str(size) for size in shape) or "a single number"


@dataclass(frozen=True, slots=True, kw_only=True)
class TensorSpec:
    """One input or output as the source names it; `None` stands for a free dimension."""

    name: str
    shape: tuple[int | None, ...]
    dtype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SourceModel:
    """A source model: `size_bytes` counts every file it consists of."""

    path: Path
    format: str
    sha256: str
    size_bytes: int
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[TensorSpec, ...]
    parameters: int | None = None
    macs: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One thing done to the model, with figures before and after."""

    name: str
    before: Mapping[str, object] = field(default_factory=dict)
    after: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Artifact:
    """A converted file; an OpenVINO artifact is named by its `.xml` and owns the `.bin` beside it."""

    path: Path
    format: str
    precision: str
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    made_as: str = ""
    """The precision with the options it really has, where they are others than asked for."""
    weights_bytes: int | None = None
    """Bytes of the learnt constants as stored; None where that was not counted."""
    float_weights_bytes: int | None = None
    """Bytes the constants would take with every layer in float, as this kind of artifact stores those."""
    float_layers: tuple[str, ...] = ()
    """Layers left in float although the precision would store them, as the source calls them."""

    @property
    def files(self) -> tuple[Path, ...]:
        """Every file the artifact consists of."""
        return (self.path, self.path.with_suffix(".bin")) if self.format == "openvino" else (self.path,)

    @property
    def size_bytes(self) -> int:
        """Size of all its files."""
        return sum(file.stat().st_size for file in self.files)
