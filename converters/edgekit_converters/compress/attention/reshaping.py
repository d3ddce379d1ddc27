"""The target of a Reshape given another size along an axis, whether it is stored or put together from shapes."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.biases import free_name
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir


def stored(model: "ir.Model", wanted: str, array: np.ndarray) -> "ir.Value":
    """Return a new stored tensor of a graph, named as wanted or alike."""
    import onnx_ir as ir

    tensor = ir.tensor(array, name=free_name(model, wanted))
    value = ir.Value(
        name=tensor.name, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype), const_value=tensor
    )
    model.graph.register_initializer(value)
    return value


def retarget(model: "ir.Model", node: "ir.Node", axis: int, size: int) -> None:
    """Let a Reshape give another size along an axis of its output; others that share its target keep theirs.

    A size that is computed becomes whatever is left, or stays where it may follow from the shape of what is reshaped:
    that is for the caller to prove.
    """
    target = node.inputs[1]
    if target is None:
        return
    if target.const_value is not None:
        sizes = np.array(target.const_value.numpy(), np.int64)
        if sizes[axis] != -1:
            sizes[axis] = size
            node.replace_input_with(1, stored(model, f"{target.name}/resized", sizes))
        return
    parts = target.producer()
    if parts is not None and parts.domain in ONNX and parts.op_type == "Concat":
        node.replace_input_with(1, _joined(model, parts, axis, size))


def _joined(model: "ir.Model", parts: "ir.Node", axis: int, size: int) -> "ir.Value":
    """Return the Concat of the same parts with another size in one place: -1 in that of a single computed one."""
    import onnx_ir as ir

    found = _part_at(parts, axis)
    constants = [one.const_value.numpy() for one in parts.inputs if one is not None and one.const_value is not None]
    if found is None:
        return parts.outputs[0]
    at, place = found
    part = parts.inputs[at]
    known = None if part is None or part.const_value is None else np.array(part.const_value.numpy(), np.int64)
    if known is None and any((one == -1).any() for one in constants):
        return parts.outputs[0]
    made = np.full(1, -1) if known is None else known
    if made[place] == -1 and known is not None:
        return parts.outputs[0]
    made[place] = -1 if known is None else size
    name = f"{parts.outputs[0].name}/{axis}={size}"
    before = next((one.outputs[0] for one in model.graph if one.outputs[0].name == name), None)
    if before is not None:
        return before
    inputs = list(parts.inputs)
    inputs[at] = stored(model, f"{name}/part", made)
    joined = ir.node("Concat", inputs, {"axis": 0})
    joined.outputs[0].name = name
    joined.outputs[0].shape, joined.outputs[0].type = parts.outputs[0].shape, parts.outputs[0].type
    model.graph.insert_after(parts, joined)
    return joined.outputs[0]


def _part_at(parts: "ir.Node", axis: int) -> tuple[int, int] | None:
    """Return which input of a Concat an entry comes from and its place there; None where that is computed."""
    begin = 0
    for at, part in enumerate(parts.inputs):
        sizes = None if part is None or part.shape is None else part.shape[0]
        if part is None or not isinstance(sizes, int):
            return None
        if axis < begin + sizes:
            return (at, axis - begin) if part.const_value is not None or sizes == 1 else None
        begin += sizes
    return None
