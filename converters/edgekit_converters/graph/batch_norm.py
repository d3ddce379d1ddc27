"""Fold the batch normalisation behind a convolution or dense layer into its weights and bias."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.biases import WITH_BIAS, bias_of, set_bias
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.scaling import outputs_of, over_outputs
from edgekit_converters.graph.weights import Weights, is_constant, only_user, replaced, weights_of

if TYPE_CHECKING:
    import onnx_ir as ir

_PARAMETERS = 4  # scale, offset, mean, variance


def fold_batch_norms(model: "ir.Model") -> int:
    """Fold in place every norm whose layer feeds nothing else and has weights of its own; return how many.

    y = scale * (W x + b - mean) / sqrt(variance + epsilon) + offset is a layer with other weights and bias.
    """
    folded = 0
    for weights in list(weights_of(model, WITH_BIAS)):
        norm = only_user(weights.node.outputs[0])
        if norm is not None and weights.place == 1 and _foldable(weights, norm):
            _fold(model, weights, norm)
            folded += 1
    return folded


def _foldable(weights: Weights, norm: "ir.Node") -> bool:
    parameters = norm.inputs[1:]
    return (
        norm.op_type == "BatchNormalization"
        and norm.domain in ONNX
        and norm.graph is weights.node.graph
        and not norm.attributes.get_int("training_mode", 0)
        and not any(one.uses() or one.is_graph_output() for one in norm.outputs[1:])
        and len(parameters) == _PARAMETERS
        and all(one is not None and is_constant(one) for one in parameters)
        and len(weights.value.uses()) == 1
        and bias_of(weights) is not None
    )


def _fold(model: "ir.Model", weights: Weights, norm: "ir.Node") -> None:
    # In double precision: a rounded square root would be the fold's own error.
    scale, offset, mean, variance = (np.asarray(one.const_value.numpy(), np.float64) for one in norm.inputs[1:])  # type: ignore[union-attr]
    factor = scale / np.sqrt(variance + (norm.attributes.get_float("epsilon", 1e-5) or 0.0))
    bias = np.asarray(bias_of(weights), np.float64)
    factor = np.broadcast_to(factor, outputs_of(weights))
    replaced(weights.value, weights.array * over_outputs(weights, factor))
    set_bias(model, weights, (bias - mean) * factor + offset)
    made, wanted = weights.node.outputs[0], norm.outputs[0]
    _hand_over(made, wanted)
    norm.graph.remove(norm, safe=True)  # type: ignore[union-attr]  # it is in the model


def _hand_over(made: "ir.Value", wanted: "ir.Value") -> None:
    """Let a value stand for another one, under that one's name."""
    from onnx_ir import convenience

    name = wanted.name
    convenience.replace_all_uses_with(wanted, made, replace_graph_outputs=True)
    wanted.name, made.name = None, name
    made.shape, made.type = made.shape or wanted.shape, made.type or wanted.type
