"""The target of a Reshape given another size along an axis, whether it is stored or put together from shapes."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.attention.pattern import NotMatchedError, said
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

    Raises:
        NotMatchedError: if the target is computed as a whole.
    """
    target = node.inputs[1]
    if target is None:
        raise NotMatchedError(f"{said(node)} has no target")
    if target.const_value is not None:
        sizes = np.array(target.const_value.numpy(), np.int64)
        if sizes[axis] != -1:
            sizes[axis] = size
            node.replace_input_with(1, stored(model, f"{target.name}/resized", sizes))
        return
    parts = target.producer()
    if parts is None or parts.domain not in ONNX or parts.op_type != "Concat":
        raise NotMatchedError(f"{said(node)} takes a shape that is computed as a whole")
    node.replace_input_with(1, _joined(model, parts, axis, size))


def _joined(model: "ir.Model", parts: "ir.Node", axis: int, size: int) -> "ir.Value":
    """Return the Concat of the same parts with another size in one place: -1 in that of a computed one."""
    import onnx_ir as ir

    begin, inputs = 0, list(parts.inputs)
    constants = [one.const_value.numpy() for one in inputs if one is not None and one.const_value is not None]
    spare = not any((one == -1).any() for one in constants)
    for at, part in enumerate(inputs):
        sizes = None if part is None or part.shape is None else part.shape[0]
        if part is None or not isinstance(sizes, int):
            break
        if axis < begin + sizes:
            if part.const_value is None and (sizes > 1 or not spare):
                break
            made = np.full(sizes, -1) if part.const_value is None else np.array(part.const_value.numpy())
            if made[axis - begin] == -1 and part.const_value is not None:
                return parts.outputs[0]
            made[axis - begin] = -1 if part.const_value is None else size
            name = f"{parts.outputs[0].name}/{axis}={size}"
            before = next((one.outputs[0] for one in model.graph if one.outputs[0].name == name), None)
            if before is not None:
                return before
            inputs[at] = stored(model, f"{name}/part", made)
            joined = ir.node("Concat", inputs, {"axis": 0})
            joined.outputs[0].name = name
            joined.outputs[0].shape, joined.outputs[0].type = parts.outputs[0].shape, parts.outputs[0].type
            model.graph.insert_after(parts, joined)
            return joined.outputs[0]
        begin += sizes
    raise NotMatchedError(f"{said(parts)} puts a shape together from more than single sizes")
