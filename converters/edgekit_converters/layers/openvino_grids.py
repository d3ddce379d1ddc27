"""The grids of whole numbers in an OpenVINO IR, as scale and zero point."""

from typing import Any

import numpy as np
import numpy.typing as npt

from edgekit_converters.tflite_file import Quantization

OpenVINO = Any  # OpenVINO has no types
Reals = npt.NDArray[np.float64]

_WHOLE = frozenset({"i8", "u8", "i4", "u4"})


def grid_of(node: OpenVINO) -> Quantization | None:
    """Return the grid a FakeQuantize puts values on, or that of a constant's stored numbers.

    A FakeQuantize's numbers are counted from 0 at the lower end. Stored numbers become real ones by the operators
    behind them: Convert, Subtract (where the zero point is not 0) and Multiply.
    """
    kind = node.get_type_name()
    if kind == "FakeQuantize":
        return _put_on(node)
    if kind == "Constant" and node.get_element_type().get_type_name() in _WHOLE:
        return _stored(node)
    return None


def _put_on(node: OpenVINO) -> Quantization | None:
    low, high = (_constant(port.get_node()) for port in node.input_values()[3:5])
    if low is None or high is None:
        return None
    scale = (high - low) / (node.get_attributes()["levels"] - 1)
    points = tuple(round(-one / step) if step else 0 for one, step in zip(low.flat, scale.flat, strict=True))
    return Quantization(scale=tuple(scale.ravel().tolist()), zero_point=points, axis=_axis(scale))


def _stored(node: OpenVINO) -> Quantization | None:
    taker = _taker(_taker(node, "Convert"), "Subtract", "Multiply")
    zero: Reals | None = np.zeros(1)
    if taker is not None and taker.get_type_name() == "Subtract":
        zero, taker = _constant(taker.input_value(1).get_node()), _taker(taker, "Multiply")
    scale = None if taker is None else _constant(taker.input_value(1).get_node())
    if scale is None or zero is None:
        return None
    points = np.broadcast_to(zero, scale.shape if zero.size == 1 else zero.shape).ravel().tolist()
    return Quantization(scale=tuple(scale.ravel().tolist()), zero_point=tuple(map(int, points)), axis=_axis(scale))


def _taker(node: OpenVINO | None, *kinds: str) -> OpenVINO | None:
    """Return the one operator that takes a node's value, if it is of these kinds."""
    takers = [] if node is None else [one.get_node() for one in node.output(0).get_target_inputs()]
    return takers[0] if len(takers) == 1 and takers[0].get_type_name() in kinds else None


def _constant(node: OpenVINO) -> Reals | None:
    """Return the numbers of a constant, also of one that is stored in fewer bits and converted."""
    if node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return np.asarray(node.get_data(), np.float64) if node.get_type_name() == "Constant" else None


def _axis(scale: Reals) -> int:
    return next((at for at, size in enumerate(scale.shape) if size > 1), 0)
