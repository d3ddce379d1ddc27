"""What is known of a value before anything runs: the numbers it holds, its shape."""

import math
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.weights import Reals

if TYPE_CHECKING:
    import onnx_ir as ir


def stored(value: "ir.Value | None") -> Reals | None:
    """Return a stored tensor of floats that no caller can replace, in double precision, or None."""
    tensor = None if value is None or value.is_graph_input() else value.const_value
    if tensor is None or not tensor.dtype.is_floating_point() or tensor.size == 0:
        return None
    return np.asarray(tensor.numpy(), np.float64)


def number_of(value: "ir.Value | None") -> float | None:
    """Return a stored float as a number, or None where it is none or holds several."""
    array = stored(value)
    return float(array.ravel()[0]) if array is not None and array.size == 1 else None


def whole_numbers(value: "ir.Value | None") -> list[int] | None:
    """Return stored whole numbers (axes, shapes), or None where they are computed."""
    tensor = None if value is None or value.is_graph_input() else value.const_value
    if tensor is None or tensor.dtype.is_floating_point():
        return None
    return [int(one) for one in tensor.numpy().ravel()]


def sizes_of(value: "ir.Value") -> tuple[int | str | None, ...] | None:
    """Return a value's shape: numbers, names of free dimensions, None where nothing is known; None without a rank."""
    if value.shape is None:
        return None
    return tuple(size if isinstance(size, int) else size.value for size in value.shape)


def same_shape(one: "ir.Value", other: "ir.Value") -> bool:
    """Whether two values are known to have the same shape."""
    left, right = sizes_of(one), sizes_of(other)
    return left is not None and left == right and None not in left


def is_fixed(sizes: "tuple[int | str | None, ...] | None") -> bool:
    """Whether every size is a number."""
    return sizes is not None and all(isinstance(size, int) for size in sizes)


def elements(sizes: "tuple[int | str | None, ...]") -> int:
    """Return the product of the sizes that are numbers."""
    return math.prod(size for size in sizes if isinstance(size, int))
