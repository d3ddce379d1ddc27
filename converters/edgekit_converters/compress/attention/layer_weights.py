"""Weights and biases of a layer read and replaced, by ones of another shape too."""

from typing import TYPE_CHECKING

from edgekit_converters.graph.biases import constant, free_name
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.weights import Reals, Weights, is_constant, only_user, replaced

if TYPE_CHECKING:
    import onnx_ir as ir


def added_bias(node: "ir.Node") -> Weights | None:
    """Return the constant, a value a channel or a single one, that alone is added to what a MatMul gives."""
    user = only_user(node.outputs[0])
    if node.op_type != "MatMul" or user is None or user.op_type != "Add" or user.domain not in ONNX:
        return None
    place = 1 if user.inputs[0] is node.outputs[0] else 0
    value = user.inputs[place]
    if value is None or not is_constant(value):
        return None
    shape = value.const_value.shape.numpy()  # type: ignore[union-attr]  # it is constant
    plain = len(shape) > 0 and all(size == 1 for size in shape[:-1])
    return Weights(node=user, place=place, value=value, axis=len(shape) - 1) if plain else None


def own_weights(model: "ir.Model", layer: Weights, array: Reals) -> None:
    """Give a layer other weights, of any shape; stored ones that others use too stay theirs."""
    if len(tuple(layer.value.uses())) == 1 and layer.value.const_value.shape.numpy() == array.shape:  # type: ignore[union-attr]  # weights are stored
        replaced(layer.value, array)
        return
    value = constant(free_name(model, f"{layer.value.name}/kept"), array, layer.value)
    model.graph.register_initializer(value)
    layer.node.replace_input_with(layer.place, value)
