"""Biases for dense layers in int8 that have none: OpenVINO's CPU plugin computes nonsense without them.

Behind a dense layer of matrices with weights on a grid a channel, it fuses the next grid (a Relu before it too) into
one kernel. Without a bias, or with one that is the same for all channels, that kernel reads scales of channels that are
not there: OpenVINO 2026.4.1 with AVX-512 gives values beyond 1e13, on one thread always and with some batches on
several. A bias that differs in one channel by the smallest step keeps it from that, and changes nothing else.
"""

from typing import Any

import numpy as np

Model = Any  # ov.Model has no types
_GRID = "FakeQuantize"
_BETWEEN = frozenset({"Relu", "Clamp", "PRelu"})
_TINY = np.float32(1e-30)


def add_biases(quantized: Model) -> None:
    """Give dense layers that a grid follows a bias that is not the same for all channels, in place."""
    from openvino import opset13 as opset

    for node in quantized.get_ordered_ops():
        if node.get_type_name() != "MatMul" or not _is_stored(node.input_value(1).get_node()):
            continue
        takers, channels = list(node.output(0).get_target_inputs()), node.get_output_partial_shape(0)[-1]
        if len(takers) != 1 or channels.is_dynamic:
            continue
        added = _added(takers[0])
        if added is None:
            if _followed(takers[0].get_node()):
                bias = opset.constant(_uneven(np.zeros(channels.get_length(), np.float32)))
                put = opset.add(node.output(0), bias)
                put.set_friendly_name(f"{node.get_friendly_name()}/bias")
                takers[0].replace_source_output(put.output(0))
        else:
            port, values = added
            if values.size == 1:  # one for all channels
                values = np.full(channels.get_length(), values)
            add = takers[0].get_node()
            (user, *others) = list(add.output(0).get_target_inputs()) or [None]
            if user is not None and not others and _followed(user.get_node()) and np.ptp(values) == 0:
                port.replace_source_output(opset.constant(_uneven(values)).output(0))


def _uneven(values: Any) -> Any:  # noqa: ANN401  # a bias
    """Return a bias whose first value is the next larger number: of zeros, a tiny one."""
    changed = np.array(values, np.float32)
    first = changed.flat[0]
    changed.flat[0] = np.nextafter(first, np.float32(np.inf)) if first else _TINY
    return changed


def _followed(node: Any) -> bool:  # noqa: ANN401  # an ov.Node
    """Whether a node is a grid, or hands on to one what it cuts off."""
    if node.get_type_name() in _BETWEEN:
        return any(one.get_node().get_type_name() == _GRID for one in node.output(0).get_target_inputs())
    return bool(node.get_type_name() == _GRID)


def _added(taker: Any) -> tuple[Any, Any] | None:  # noqa: ANN401  # an ov.Input
    """Return the port and the values of the constant that is added there, None where none is."""
    node = taker.get_node()
    if node.get_type_name() != "Add":
        return None
    other = node.input(1 - taker.get_index())
    constant = other.get_source_output().get_node()
    if constant.get_type_name() == "Convert":  # stored in half precision
        constant = constant.input_value(0).get_node()
    return (other, constant.get_data()) if constant.get_type_name() == "Constant" else None


def _is_stored(node: Any) -> bool:  # noqa: ANN401  # an ov.Node
    """Whether a node is a constant, or one that is stored as other numbers and scaled."""
    while node.get_type_name() in {"Convert", "Multiply", "Subtract", "Reshape"}:
        node = node.input_value(0).get_node()
    return bool(node.get_type_name() == "Constant")
