"""The bias of a layer as one value a channel: read, and written where there was none."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.scaling import outputs_of
from edgekit_converters.graph.weights import Reals, Weights, is_constant, only_user

if TYPE_CHECKING:
    import onnx_ir as ir

WITH_BIAS = frozenset({"Conv", "ConvTranspose", "Gemm"})
"""Operators whose third input is a bias."""
_PLACE = 2


def bias_of(weights: Weights) -> Reals | None:
    """Return the bias [outputs] that a layer of `WITH_BIAS` adds, zeros without one.

    None where it is no constant, or of a Gemm no value a channel.
    """
    node, count = weights.node, outputs_of(weights)
    value = node.inputs[_PLACE] if len(node.inputs) > _PLACE else None
    beta = node.attributes.get_float("beta", 1.0) if node.op_type == "Gemm" else 1.0
    if value is None:
        return np.zeros(count)
    if not is_constant(value):
        return None
    stored = np.asarray(value.const_value.numpy(), np.float64)  # type: ignore[union-attr]  # it is constant
    if any(size != 1 for size in stored.shape[:-1]):
        return None
    return np.asarray(np.broadcast_to(stored.ravel() * (1.0 if beta is None else beta), count))


def set_bias(model: "ir.Model", weights: Weights, bias: Reals) -> None:
    """Give a layer of `WITH_BIAS` a bias [outputs] of its own; a stored one that others use stays theirs."""
    import onnx_ir as ir

    node = weights.node
    name = free_name(model, f"{node.outputs[0].name}/bias")
    value = constant(name, bias, weights.value)
    model.graph.register_initializer(value)
    if node.op_type == "Gemm":
        node.attributes["beta"] = ir.AttrFloat32("beta", 1.0)
    if len(node.inputs) <= _PLACE:
        node.resize_inputs(_PLACE + 1)
    node.replace_input_with(_PLACE, value)


def has_bias(weights: Weights) -> bool:
    """Whether a layer has a constant that `add_to_bias` adds to."""
    if weights.node.op_type in WITH_BIAS:
        return len(weights.node.inputs) > _PLACE and weights.node.inputs[_PLACE] is not None
    user = only_user(weights.node.outputs[0])
    return user is not None and _added_to(user, _shape(weights, outputs_of(weights))) is not None


def bias_refusal(weights: Weights) -> str:
    """Return why nothing can be added to a layer's bias, empty where it can."""
    if weights.node.op_type in WITH_BIAS and bias_of(weights) is None:
        return "its bias is no constant with a value a channel"
    return ""


def add_to_bias(model: "ir.Model", weights: Weights, shift: Reals) -> None:
    """Add [outputs] to what a layer gives: to its bias, to the constant that is added behind it, or by a new sum."""
    bias = bias_of(weights) if weights.node.op_type in WITH_BIAS else None
    if bias is not None:
        set_bias(model, weights, bias + shift)
        return
    shift = shift.reshape(_shape(weights, len(shift)))
    user = only_user(weights.node.outputs[0])
    at = _added_to(user, shift.shape) if user is not None else None
    if user is None or at is None:
        _add_behind(model, weights, shift)
        return
    stored = user.inputs[at]
    array = np.asarray(stored.const_value.numpy(), np.float64)  # type: ignore[union-attr]  # it is constant
    value = constant(free_name(model, f"{user.outputs[0].name}/bias"), array + shift, weights.value)
    model.graph.register_initializer(value)
    user.replace_input_with(at, value)


def _shape(weights: Weights, count: int) -> tuple[int, ...]:
    """Return the shape of what is added to a layer's channels: those of a MatMul's left side are rows."""
    return (count, 1) if weights.node.op_type == "MatMul" and weights.place == 0 else (count,)


def _added_to(node: "ir.Node", shape: tuple[int, ...]) -> int | None:
    """Return the place of the constant [..., *shape] that an Add adds."""
    for at, value in enumerate(node.inputs if node.op_type == "Add" else ()):
        if value is not None and is_constant(value) and tuple(value.const_value.shape)[-len(shape) :] == shape:  # type: ignore[union-attr]
            return at
    return None


def _add_behind(model: "ir.Model", weights: Weights, shift: Reals) -> None:
    import onnx_ir as ir
    from onnx_ir import convenience

    made = weights.node.outputs[0]
    value = constant(free_name(model, f"{made.name}/bias"), shift, weights.value)
    model.graph.register_initializer(value)
    name = str(made.name)
    made.name = free_name(model, f"{name}/product")
    added = ir.node("Add", [made, value], name=f"{name}/correction")
    convenience.replace_all_uses_with(made, added.outputs[0], replace_graph_outputs=True)
    added.replace_input_with(0, made)
    added.outputs[0].name = name
    added.outputs[0].type, added.outputs[0].shape = made.type, made.shape
    weights.node.graph.insert_after(weights.node, added)  # type: ignore[union-attr]  # it is in the model


def constant(name: str, array: Reals, like: "ir.Value") -> "ir.Value":
    """Return a stored tensor of the dtype of another one."""
    import onnx_ir as ir

    dtype = like.dtype or ir.DataType.FLOAT
    tensor = ir.Tensor(array.astype(dtype.numpy()), dtype=dtype, name=name)
    return ir.Value(name=name, shape=ir.Shape(array.shape), type=ir.TensorType(dtype), const_value=tensor)


def free_name(model: "ir.Model", wanted: str) -> str:
    """Return the name, or the name with a number, that no value has."""
    taken = {
        value.name for node in model.graph.all_nodes() for value in (*node.inputs, *node.outputs) if value is not None
    }
    taken |= {value.name for value in model.graph.inputs} | set(model.graph.initializers)
    name, count = wanted, 1
    while name in taken:
        name, count = f"{wanted}.{count}", count + 1
    return name
