"""What channels hold on calibration data: their smallest and largest values, power and variance."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.observing import observe
from edgekit_converters.graph.weights import Reals
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir


@dataclass(slots=True)
class Channels:
    """Sums over all samples and places, an entry a channel."""

    count: int
    low: Reals
    high: Reals
    total: Reals
    squares: Reals

    @property
    def largest(self) -> Reals:
        """The largest magnitudes."""
        return np.maximum(np.abs(self.low), np.abs(self.high))

    @property
    def power(self) -> Reals:
        """The mean squares."""
        return self.squares / self.count

    @property
    def variance(self) -> Reals:
        """The mean squared distances to the mean."""
        return np.maximum(self.power - (self.total / self.count) ** 2, 0.0)

    def add(self, other: "Channels") -> None:
        """Count another batch's values too."""
        self.count += other.count
        self.low, self.high = np.minimum(self.low, other.low), np.maximum(self.high, other.high)
        self.total, self.squares = self.total + other.total, self.squares + other.squares


def channels_of(
    model: "ir.Model", places: Sequence[tuple[str, int]], arrays: Arrays, file: Path
) -> dict[str, Channels]:
    """Return what the values of these names hold along these axes (negative ones count from the end).

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    found: dict[str, Channels] = {}
    axes = dict(places)
    for batch in observe(model, list(axes), arrays, file):
        for name, array in batch.items():
            rows = np.moveaxis(array, axes[name], 0).reshape(array.shape[axes[name]], -1).astype(np.float64)
            here = Channels(
                count=rows.shape[1],
                low=rows.min(axis=1),
                high=rows.max(axis=1),
                total=rows.sum(axis=1),
                squares=(rows**2).sum(axis=1),
            )
            if name in found:
                found[name].add(here)
            else:
                found[name] = here
    return found
