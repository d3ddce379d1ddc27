"""What every metric makes of outputs and labels: a value for any weights of the samples."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit.errors import DataError
from edgekit_converters.model import Array, Arrays

Weights = NDArray[np.int64]
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Scored:
    """A metric on `samples` samples: `of(weights)` is its value where sample i is there weights[i] times.

    Weights make drawing samples again (the bootstrap) cheap: what can be sorted or matched once is.
    `hits` is how many samples are right, where the metric is a share of them.
    """

    samples: int
    of: Callable[[Weights], float]
    hits: int | None = None

    @property
    def value(self) -> float:
        """The metric on all samples, each once."""
        return self.of(np.ones(self.samples, dtype=np.int64))


def mean_of(values: Array) -> Scored:
    """Return the metric that is the mean of a value a sample [N]."""
    real = np.asarray(values, dtype=np.float64)
    return Scored(len(real), lambda weights: float(weights @ real / weights.sum()))


def label(labels: Arrays, name: str, metric: str) -> Array:
    """Return labels by name.

    Raises:
        DataError: if they are not there.
    """
    if name not in labels:
        raise DataError(f"{metric} needs the labels '{name}'; the data has {', '.join(labels) or 'none'}")
    return labels[name]


def real(name: str, array: Array) -> Values:
    """Return an output as float64.

    Raises:
        DataError: if a value is NaN or infinite.
    """
    values = np.asarray(array, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"output '{name}' holds NaN or infinite values")
    return values
