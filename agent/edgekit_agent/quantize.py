"""Between real values and the stored values of a quantized input or output: real = (stored - zero_point) * scale."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_agent.errors import InputDataError
from edgekit_agent.runtimes.base import Array, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray


def _along(values: Sequence[float], spec: TensorSpec, rank: int) -> "NDArray[np.float32]":
    """Return one value, or one a channel shaped to broadcast along the quantized axis."""
    array = np.asarray(values, dtype=np.float32)
    return array if array.size == 1 else array.reshape([-1 if axis == spec.axis else 1 for axis in range(rank)])


def to_stored(array: Array, spec: TensorSpec) -> Array:
    """Return an array as the input stores it.

    An array of the input's own type holds stored values already. Where the input is quantized any
    other holds real values: they are quantized (rounded half to even, saturated). Where it is not,
    they are cast; on the way to whole numbers they are rounded and must fit.

    Raises:
        InputDataError: if a value is not a number or is outside what the input can hold.
    """
    dtype = np.dtype(spec.dtype)
    if array.dtype == dtype:
        return np.asarray(array, order="C")
    if dtype.kind not in "iu":
        return np.asarray(array, dtype=dtype, order="C")
    limits = np.iinfo(dtype)
    values = _quantized(array, spec, limits) if spec.scale else _whole(array)
    # written so that a value that is not a number is refused too
    if values.size and not (values.min() >= limits.min and values.max() <= limits.max):
        raise InputDataError(f"input '{spec.name}' is {dtype} and a value is not a number between its limits")
    return np.asarray(values, dtype=dtype, order="C")


def _quantized(array: Array, spec: TensorSpec, limits: "np.iinfo[np.signedinteger]") -> "NDArray[np.floating]":
    # float32 is exact up to the limits of 16 bits; those of 32 bits are no float32
    kind = np.float32 if limits.bits < 32 else np.float64  # noqa: PLR2004
    scale: NDArray[np.floating] = _along(spec.scale, spec, array.ndim).astype(kind)
    real: NDArray[np.floating] = array.astype(kind, copy=False)
    stored: NDArray[np.floating] = np.rint(real / scale)
    stored += _along(spec.zero_point, spec, array.ndim).astype(kind)
    stored.clip(limits.min, limits.max, out=stored)
    return stored


def _whole(array: Array) -> "NDArray[np.integer | np.floating]":
    if array.dtype.kind == "f":
        return np.rint(array.astype(np.float64))
    return array.astype(np.int64) if array.dtype.kind == "b" else array  # type: ignore[return-value]  # whole numbers


def to_real(array: Array, spec: TensorSpec) -> Array:
    """Return an output's real values: dequantized to float32 where it is quantized, else as it is."""
    if not spec.scale or array.dtype.kind == "f":
        return array
    scale = _along(spec.scale, spec, array.ndim)
    zero_point = _along(spec.zero_point, spec, array.ndim)
    return np.asarray((array.astype(np.float32) - zero_point) * scale, dtype=np.float32)
