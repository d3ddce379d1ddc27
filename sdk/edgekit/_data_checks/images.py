"""What arrays of images show by themselves: where the channels are, and in which order."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.model import Array

_AXES, _COLOURS = 4, 3
_CHANNELS = frozenset({1, 3, 4})
_CLEAR = 4.0  # standard errors
_NEARER = 0.5  # of the distance in the given order
_ROUGHER = 1.5  # an axis of channels than the next
_FAR = 1.0  # standard deviations
_LEAST = 3  # sizes of an axis whose roughness says something


def size(shape: Sequence[int]) -> str:
    """Return `224x224x3`."""
    return "x".join(map(str, shape))


def said(array: Array) -> str:
    """Return the shape of a sample as people write it."""
    return size(array.shape[1:])


def layout(array: Array) -> str | None:
    """Return `nhwc` or `nchw` where the sizes leave no doubt."""
    if array.ndim != _AXES:
        return None
    first, last = array.shape[1] in _CHANNELS, array.shape[3] in _CHANNELS
    return None if first == last else "nchw" if first else "nhwc"


def roughest_axis(array: Array) -> int | None:
    """Return the axis along which neighbours differ most, by far: that of the channels, for pictures are smooth."""
    if array.ndim != _AXES or min(array.shape[1:]) < _LEAST:
        return None
    rough = [float(np.abs(np.diff(array, axis=axis)).mean()) for axis in (1, 2, 3)]
    order = np.argsort(rough)
    return int(order[-1]) + 1 if rough[order[-1]] > _ROUGHER * rough[order[-2]] else None


def swapped(mine: Array, theirs: Array) -> bool:
    """Whether two sets of colour images have the same means in opposite order."""
    a, b = _by_channel(mine), _by_channel(theirs)
    if a is None or b is None or a.shape[1] != _COLOURS or b.shape[1] != _COLOURS:
        return False
    one, other = a.mean(axis=0), b.mean(axis=0)
    as_is, turned = np.linalg.norm(one - other), np.linalg.norm(one - other[::-1])
    # pictures differ in brightness far more than in colour: only differences between channels count
    spread = a - a.mean(axis=1, keepdims=True), b - b.mean(axis=1, keepdims=True)
    noise = np.sqrt(sum(float(part.var(axis=0).sum()) / len(part) for part in spread))
    return bool(turned < _NEARER * as_is and as_is > _CLEAR * noise)


def shift(mine: Array, theirs: Array) -> tuple[int | None, float] | None:
    """Return the channel whose mean differs by more than a standard deviation, and by how many."""
    a, b = _by_channel(mine), _by_channel(theirs)
    if a is None or b is None or a.shape[1] != b.shape[1]:
        a, b = mine.reshape(len(mine), -1).mean(axis=1)[:, None], theirs.reshape(len(theirs), -1).mean(axis=1)[:, None]
    spread = float(theirs.std())
    if not spread:
        return None
    by = (a.mean(axis=0) - b.mean(axis=0)) / spread
    worst = int(np.abs(by).argmax())
    return (worst if len(by) > 1 else None, float(by[worst])) if abs(by[worst]) > _FAR else None


def _by_channel(array: Array) -> NDArray[np.float64] | None:
    """Return each image's mean by channel [n, C]."""
    where = layout(array)
    if where is None:
        return None
    means: NDArray[np.float64] = np.asarray(array, dtype=np.float64).mean(axis=(2, 3) if where == "nchw" else (1, 2))
    return means
