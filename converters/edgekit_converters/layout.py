"""Where the channels of an artifact's images lie: as in its source, or turned by `--io-layout`."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.model import Array, Arrays, TensorSpec

LAYOUTS = ("keep", "nhwc", "nchw")
_IMAGES = (4, 5)  # ranks: NCHW and NCDHW


@dataclass(frozen=True, slots=True)
class Layout:
    """How the inputs and outputs of rank 4 and 5 of an artifact lie beside those of its source."""

    wanted: str = "keep"
    channels_first: bool = True
    """Whether the source has its channels behind the batch."""

    @property
    def turns(self) -> bool:
        """Whether anything lies otherwise than in the source."""
        return self.wanted != "keep" and (self.wanted == "nchw") != self.channels_first

    def axes(self, rank: int) -> tuple[int, ...] | None:
        """Return which axis of the source each axis of the artifact is, or None where they are the same."""
        if not self.turns or rank not in _IMAGES:
            return None
        return (0, *range(2, rank), 1) if self.channels_first else (0, rank - 1, *range(1, rank - 1))

    def to_artifact(self, arrays: Arrays, specs: Sequence[TensorSpec]) -> dict[str, Array]:
        """Return the source's arrays (rows or whole runs) as the artifact takes them."""
        return {spec.name: _turned(arrays[spec.name], self.axes(len(spec.shape)), len(spec.shape)) for spec in specs}

    def to_source(self, arrays: Arrays, specs: Sequence[TensorSpec]) -> dict[str, Array]:
        """Return the artifact's arrays as the source would have given them; unknown names stay as they are."""
        ranks = {spec.name: len(spec.shape) for spec in specs}
        return {name: _turned(one, self._back(ranks.get(name, 0)), ranks.get(name, 0)) for name, one in arrays.items()}

    def _back(self, rank: int) -> tuple[int, ...] | None:
        axes = self.axes(rank)
        return None if axes is None else tuple(int(axis) for axis in np.argsort(axes))


def _turned(array: Array, axes: tuple[int, ...] | None, rank: int) -> Array:
    if axes is None or array.ndim not in {rank, rank + 1}:
        return array
    extra = array.ndim - rank  # whole runs have an axis in front
    return array.transpose((*range(extra), *(axis + extra for axis in axes)))
