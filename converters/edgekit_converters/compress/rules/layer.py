"""Linear layers with stored weights, as rules read and write them: y = W x + b."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import RefusedError
from edgekit_converters.compress.rules.draft import Draft, Given
from edgekit_converters.graph.biases import WITH_BIAS, bias_of
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals, Weights, is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

LAYERS = "Conv ConvTranspose Gemm MatMul"
_MATRIX = 2  # dimensions


@dataclass(frozen=True, slots=True)
class Layer:
    """A layer: `weights` as they are stored, `bias` [outputs]."""

    weights: Weights
    bias: Reals

    @property
    def node(self) -> "ir.Node":
        """The layer's node."""
        return self.weights.node

    @property
    def array(self) -> Reals:
        """The weights, times a Gemm's factor."""
        alpha = self.node.attributes.get_float("alpha", 1.0) if self.node.op_type == "Gemm" else 1.0
        return self.weights.array * (1.0 if alpha is None else alpha)

    @property
    def input(self) -> "ir.Value":
        """What the layer takes."""
        value = self.node.inputs[0]
        if value is None:
            raise AssertionError("a layer takes something")
        return value

    @property
    def is_conv(self) -> bool:
        """Whether its channels lie behind the batch."""
        return self.node.op_type in {"Conv", "ConvTranspose"}

    @property
    def behind(self) -> int:
        """How many axes lie behind the channels'."""
        return len(self.weights.value.const_value.shape) - 2 if self.is_conv else 0  # type: ignore[union-attr]  # stored

    @property
    def matrix(self) -> Reals:
        """A dense layer's weights as [inputs, outputs]."""
        return self.array if self.weights.axis == 1 else self.array.T

    def as_stored(self, matrix: Reals) -> Reals:
        """Return a matrix [inputs, outputs] as this dense layer stores it."""
        return matrix if self.weights.axis == 1 else matrix.T


@dataclass(frozen=True, slots=True)
class Numbers:
    """What a layer is given: weights in its own storage order (a Gemm's factor in them), and bias [outputs]."""

    array: Reals
    bias: Reals


def layer_of(node: "ir.Node", *, shared: bool = False) -> Layer:
    """Return a node as a layer.

    Raises:
        RefusedError: if its weights or bias are computed, or used elsewhere too and `shared` does not allow that.
    """
    value = node.inputs[1] if len(node.inputs) > 1 else None
    if value is None or not is_constant(value):
        raise RefusedError("its weights are computed", node)
    tensor = value.const_value
    rank = len(tensor.shape)  # type: ignore[union-attr]  # it is constant
    dense = node.op_type in {"Gemm", "MatMul"}
    if rank < _MATRIX or (dense and rank != _MATRIX):
        raise RefusedError(f"its weights have {rank} dimensions", node)
    if node.op_type == "Gemm" and node.attributes.get_int("transA", 0) == 1:
        raise RefusedError("it turns its input", node)
    if not shared and len(value.uses()) > 1:
        raise RefusedError(f"its weights '{value.name}' are used elsewhere too", node)
    turned = node.op_type == "Gemm" and node.attributes.get_int("transB", 0) == 1
    axis = (0 if turned else 1) if dense else 0
    if node.op_type == "ConvTranspose" and groups_of(node) == 1:
        axis = 1
    weights = Weights(node=node, place=1, value=value, axis=axis)
    bias = bias_of(weights) if node.op_type in WITH_BIAS else np.zeros(tensor.shape.numpy()[1])  # type: ignore[union-attr]
    if bias is None:
        raise RefusedError("its bias is computed, or no value a channel", node)
    return Layer(weights, np.asarray(bias))


def has_bias(node: "ir.Node") -> bool:
    """Whether a layer has a third input."""
    return len(node.inputs) > _MATRIX and node.inputs[_MATRIX] is not None


def check_place_for_bias(layer: Layer, bias: Reals) -> None:
    """Refuse a bias that a MatMul of more than two dimensions would need an op of its own for."""
    shape = layer.input.shape
    if layer.node.op_type == "MatMul" and np.any(bias) and (shape is None or len(shape) != _MATRIX):
        rank = "an unknown number of" if shape is None else len(shape)
        raise RefusedError(f"a MatMul of {rank} dimensions has no place for a bias", layer.node)


def write_layer(
    draft: Draft,
    like: Layer,
    numbers: Numbers,
    source: "ir.Value | None" = None,
    attributes: Mapping[str, Given] | None = None,
) -> "ir.Value":
    """Write a layer with the kind, name and attributes of another one; a MatMul that gets a bias becomes a Gemm."""
    node, source = like.node, source or like.input
    weights = draft.floats(numbers.array, like.weights.value, "weights")
    if node.op_type == "MatMul" and not np.any(numbers.bias):
        return draft.op("MatMul", source, weights, like=node)
    inputs = [source, weights]
    if has_bias(node) or np.any(numbers.bias):
        inputs.append(draft.floats(numbers.bias, like.weights.value, "bias"))
    if node.op_type == "Gemm":
        attributes = {**(attributes or {}), "alpha": 1.0, "beta": 1.0}
    return draft.op("Gemm" if node.op_type == "MatMul" else node.op_type, *inputs, like=node, attributes=attributes)
