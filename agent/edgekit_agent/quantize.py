"""Between real values and the stored values of a quantized input or output: real = (stored - zero_point) * scale."""

from collections.abc import Sequence

import numpy as np

from edgekit_agent.runtimes.base import Array, TensorSpec


def _along(values: Sequence[float], spec: TensorSpec, rank: int) -> Array:
    """Return one value, or one a channel shaped to broadcast along the quantized axis."""
    array = np.asarray(values, dtype=np.float32)
    return array if array.size == 1 else array.reshape([-1 if axis == spec.axis else 1 for axis in range(rank)])


def to_stored(array: Array, spec: TensorSpec) -> Array:
    """Return an array as the input stores it.

    Real values are quantized (rounded half to even, saturated) where the input is quantized and the
    array is not; anything else is cast.
    """
    dtype = np.dtype(spec.dtype)
    if array.dtype == dtype:
        return np.ascontiguousarray(array)
    if not spec.scale or array.dtype.kind != "f":
        return np.ascontiguousarray(array, dtype=dtype)
    scale = _along(spec.scale, spec, array.ndim)
    zero_point = _along(spec.zero_point, spec, array.ndim)
    limits = np.iinfo(dtype)
    stored = np.clip(np.rint(array / scale) + zero_point, limits.min, limits.max)  # type: ignore[operator]  # numbers
    return np.ascontiguousarray(stored, dtype=dtype)


def to_real(array: Array, spec: TensorSpec) -> Array:
    """Return an output's real values: dequantized to float32 where it is quantized, else as it is."""
    if not spec.scale or array.dtype.kind == "f":
        return array
    scale = _along(spec.scale, spec, array.ndim)
    zero_point = _along(spec.zero_point, spec, array.ndim)
    return np.asarray((array.astype(np.float32) - zero_point) * scale, dtype=np.float32)
