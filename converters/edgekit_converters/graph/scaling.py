"""Scale what comes out of a layer's channels, or undo it where it goes in: weights times a factor a channel."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.weights import Reals, Weights

if TYPE_CHECKING:
    import onnx_ir as ir


def outputs_of(weights: Weights) -> int:
    """Return how many output channels the weights have."""
    shape = weights.array.shape
    if weights.node.op_type == "ConvTranspose":
        return int(shape[1]) * _groups(weights.node)
    return 1 if weights.axis is None else int(shape[weights.axis])


def inputs_of(weights: Weights) -> int:
    """Return how many input channels the weights take."""
    array = weights.array
    if weights.node.op_type == "Conv":
        return int(array.shape[1]) * _groups(weights.node)
    if weights.node.op_type == "ConvTranspose":
        return int(array.shape[0])
    return array.size // outputs_of(weights)


def scaled_outputs(weights: Weights, factors: Reals) -> Reals:
    """Return the weights with which every output channel is `factors` [outputs] times as large."""
    array = weights.array
    if weights.node.op_type == "ConvTranspose":
        groups, spatial = _groups(weights.node), array.shape[2:]
        split = array.reshape(groups, -1, *array.shape[1:])
        return np.asarray(split * factors.reshape(groups, 1, -1, *(1 for _ in spatial))).reshape(array.shape)
    return np.asarray(array * _along(factors, weights.axis or 0, array.ndim))


def scaled_inputs(weights: Weights, factors: Reals) -> Reals:
    """Return the weights that multiply every input channel by `factors` [inputs] too."""
    array = weights.array
    if weights.node.op_type == "Conv":
        groups, spatial = _groups(weights.node), array.shape[2:]
        split = array.reshape(groups, -1, *array.shape[1:])
        return np.asarray(split * factors.reshape(groups, 1, -1, *(1 for _ in spatial))).reshape(array.shape)
    if weights.node.op_type == "ConvTranspose":
        return np.asarray(array * _along(factors, 0, array.ndim))
    return np.asarray(array * _along(factors, 1 - (weights.axis or 0), array.ndim))


def _along(factors: Reals, axis: int, rank: int) -> Reals:
    return factors.reshape([-1 if one == axis else 1 for one in range(rank)])


def _groups(node: "ir.Node") -> int:
    return int(node.attributes.get_int("group", 1) or 1)
