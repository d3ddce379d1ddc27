"""`package.module:function`: a metric of the user's own."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgekit._metrics.scored import Scored, Weights, mean_of
from edgekit.errors import DataError
from edgekit_converters import user_function
from edgekit_converters.model import Array, Arrays


def find(name: str) -> Callable[..., Any]:
    """Return the function.

    Raises:
        DataError: if it is not there.
    """
    return user_function.find(name, DataError, "a function that scores outputs")


def scored(name: str, outputs: Arrays, labels: Arrays) -> Scored:
    """Call `f(outputs, labels)`: it returns a number, or one a sample, whose mean counts.

    `labels` is the array `y` where there is no other, else the arrays by name. A function that returns one number
    is called again for every draw of the bootstrap.

    Raises:
        DataError: if it raises, or returns something else.
    """
    units = len(labels["y"] if "y" in labels else next(iter(labels.values())))
    result = _call(name, outputs, labels)
    if result.size == units > 1:
        return mean_of(result.reshape(-1))
    if result.size != 1:
        raise DataError(f"'{name}' returns {result.size} values, not one or one for each of {units} labels")

    def of(weights: Weights) -> float:
        if (weights == 1).all():
            return float(result.reshape(-1)[0])
        index = np.repeat(np.arange(units), weights)
        drawn = ({key: _taken(one, index, units) for key, one in arrays.items()} for arrays in (outputs, labels))
        return float(_call(name, *drawn).reshape(-1)[0])

    return Scored(units, of)


def _call(name: str, outputs: Arrays, labels: Arrays) -> Array:
    function = find(name)
    with user_function.guarded(name, DataError):
        result = np.asarray(function(dict(outputs), labels["y"] if set(labels) == {"y"} else dict(labels)))
    if result.dtype.kind not in "fiub" or not result.size:
        raise DataError(f"'{name}' returns {result.dtype} values where numbers are expected")
    values = np.asarray(result, dtype=np.float64)
    if not np.isfinite(values).all():
        raise DataError(f"'{name}' returns NaN or infinity")
    return values


def _taken(array: Array, index: NDArray[np.intp], units: int) -> Array:
    """Return rows by label; where there are several rows a label (pairs) they stay together."""
    rows = len(array) // units
    return np.take(array, (index[:, None] * rows + np.arange(rows)).ravel(), axis=0)
