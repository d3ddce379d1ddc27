"""What layers with weights tie: their input's channels to the weights' rows, the weights' columns to the output's."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.groups.ties import Ties
from edgekit_converters.graph.weights import Weights, is_constant, weights_of

if TYPE_CHECKING:
    import onnx_ir as ir

_MATRIX = 2  # dimensions
LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul"})


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Layer:
    """A layer with constant weights: which axes of these are its outputs and its inputs.

    `taken` is None of a depthwise layer: it takes nothing together, so channels go through it.
    """

    weights: Weights
    made: int
    taken: int | None

    @property
    def node(self) -> "ir.Node":
        """The node."""
        return self.weights.node


def layers_of(model: "ir.Model") -> list[Layer]:
    """Return the layers of the main graph in order; one whose both sides are constant is none."""
    found = []
    for one in weights_of(model, LAYERS):
        rank = len(one.value.const_value.shape)  # type: ignore[union-attr]  # it is constant
        if one.node.graph is not model.graph or rank < _MATRIX:
            continue
        if one.node.op_type in {"Conv", "ConvTranspose"}:
            if one.place == 1:
                alone = depthwise(one.node)
                made = 0 if alone or one.node.op_type == "Conv" else 1
                found.append(Layer(weights=one, made=made, taken=None if alone else 1 - made))
        else:
            made = one.axis or 0
            taken = 1 - made if one.node.op_type == "Gemm" else 2 * rank - 3 - made
            found.append(Layer(weights=one, made=made, taken=taken))
    return found


def depthwise(node: "ir.Node") -> bool:
    """Whether every group of a convolution has one input channel, and there are several."""
    weights = node.inputs[1]
    groups = node.attributes.get_int("group", 1) or 1
    if weights is None or weights.const_value is None or groups == 1:
        return False
    shape = weights.const_value.shape.numpy()
    return bool(shape[0] == groups if node.op_type == "ConvTranspose" else shape[1] == 1)


def conv(node: "ir.Node", ties: Ties) -> None:
    """Tie a convolution's channels; those in the same place of several groups go together, so all groups stay even."""
    image, weights, made = node.inputs[0], node.inputs[1], node.outputs[0]
    groups = node.attributes.get_int("group", 1) or 1
    outputs, inputs = ties.size(made, 1), ties.size(image, 1)
    if weights is None or not is_constant(weights) or outputs is None or inputs is None:
        return
    ties.tie(image, 0, made, 0)
    ties.tie(weights, 0, made, 1)
    _bias(node, ties)
    if depthwise(node):
        ties.tie(made, 1, image, 1, np.arange(outputs) // (outputs // groups))
        return
    ties.tie(image, 1, weights, 1, np.arange(inputs) % (inputs // groups))
    if groups > 1:
        ties.tie(made, 1, made, 1, np.arange(outputs) % (outputs // groups))


def conv_transpose(node: "ir.Node", ties: Ties) -> None:
    """Tie as `conv` does; its weights are stored the other way round."""
    image, weights, made = node.inputs[0], node.inputs[1], node.outputs[0]
    groups = node.attributes.get_int("group", 1) or 1
    outputs, inputs = ties.size(made, 1), ties.size(image, 1)
    if weights is None or not is_constant(weights) or outputs is None or inputs is None:
        return
    ties.tie(image, 0, made, 0)
    ties.tie(weights, 0, image, 1)
    _bias(node, ties)
    each = outputs // groups
    if depthwise(node):
        ties.tie(made, 1, image, 1, np.arange(outputs) // each)
        return
    ties.tie(made, 1, weights, 1, np.arange(outputs) % each)
    if groups > 1:
        ties.tie(image, 1, image, 1, np.arange(inputs) % (inputs // groups))


def _bias(node: "ir.Node", ties: Ties) -> None:
    if len(node.inputs) > _MATRIX:
        ties.tie(node.inputs[2], 0, node.outputs[0], 1)


def gemm(node: "ir.Node", ties: Ties) -> None:
    """Tie a dense layer whose one side is constant."""
    left, right, made = node.inputs[0], node.inputs[1], node.outputs[0]
    if not _one_stored(left, right):
        return
    turned = [node.attributes.get_int(name, 0) or 0 for name in ("transA", "transB")]
    ties.tie(left, turned[0], made, 0)
    ties.tie(right, 1 - turned[1], made, 1)
    ties.tie(left, 1 - turned[0], right, turned[1])
    if len(node.inputs) > _MATRIX:
        for back in range(1, (ties.rank(node.inputs[2]) or 0) + 1):
            ties.tie(node.inputs[2], -back, made, -back)


def matmul(node: "ir.Node", ties: Ties) -> None:
    """Tie a product whose one side is constant; two computed ones (attention) are none of these layers."""
    left, right, made = node.inputs[0], node.inputs[1], node.outputs[0]
    ranks = [ties.rank(one) or 0 for one in (left, right)]
    if not _one_stored(left, right) or min(ranks) < _MATRIX:
        return
    ties.tie(left, -2, made, -2)
    ties.tie(right, -1, made, -1)
    ties.tie(left, -1, right, -2)
    for one, rank in zip((left, right), ranks, strict=True):
        for back in range(3, rank + 1):
            ties.tie(one, -back, made, -back)


def _one_stored(left: "ir.Value | None", right: "ir.Value | None") -> bool:
    return left is not None and right is not None and is_constant(left) != is_constant(right)
