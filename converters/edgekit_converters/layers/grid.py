"""Between real values and the numbers a quantized tensor stores: real = (stored - zero_point) * scale."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.layers.view import Value
from edgekit_converters.model import Array


def to_real(array: Array, value: Value) -> Array:
    """Return real values as float32 where the tensor stores whole numbers on a grid, else the array as it is."""
    known = value.quantization
    if known is None or array.dtype.kind == "f":
        return array
    scale, zero = (_along(one, known.axis, array.ndim) for one in (known.scale, known.zero_point or (0,)))
    return np.asarray((array.astype(np.float32) - zero) * scale, dtype=np.float32)


def to_stored(array: Array, value: Value) -> Array:
    """Return real values as the tensor stores them, rounded half to even and saturated where it has a grid.

    An array of the tensor's own type holds stored values already.
    """
    dtype, known = np.dtype(value.dtype), value.quantization
    if array.dtype == dtype or known is None or dtype.kind == "f":
        return np.ascontiguousarray(array, dtype=dtype)
    scale, zero = (_along(one, known.axis, array.ndim) for one in (known.scale, known.zero_point or (0,)))
    limits = np.iinfo(dtype)
    return np.ascontiguousarray(
        np.clip(np.rint(array.astype(np.float32) / scale) + zero, limits.min, limits.max), dtype=dtype
    )


def _along(values: Sequence[float], axis: int, rank: int) -> "NDArray[np.float32]":
    array = np.asarray(values, dtype=np.float32)
    return array.reshape(()) if array.size == 1 else array.reshape([-1 if at == axis else 1 for at in range(rank)])
