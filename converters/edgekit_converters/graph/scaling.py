"""Weights times a factor a channel: what comes out of a layer scaled, or what goes in."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.weights import Reals, Weights

if TYPE_CHECKING:
    import onnx_ir as ir


def outputs_of(weights: Weights) -> int:
    """Return how many output channels a layer has: a convolution, Gemm or MatMul with a matrix."""
    shape = weights.array.shape
    if weights.node.op_type == "ConvTranspose":
        return int(shape[1]) * groups_of(weights.node)
    return 1 if weights.axis is None else int(shape[weights.axis])


def inputs_of(weights: Weights) -> int:
    """Return how many input channels a layer takes."""
    shape = weights.array.shape
    if weights.node.op_type == "Conv":
        return int(shape[1]) * groups_of(weights.node)
    return int(shape[0] if weights.node.op_type == "ConvTranspose" else shape[1 - (weights.axis or 0)])


def over_outputs(weights: Weights, factors: Reals) -> Reals:
    """Return an array of the weights' shape that holds at every weight the factor [outputs] of its output channel."""
    shape = weights.array.shape
    if weights.node.op_type == "ConvTranspose":
        return _grouped(factors, weights)
    return np.broadcast_to(_along(factors, weights.axis or 0, len(shape)), shape)


def over_inputs(weights: Weights, factors: Reals) -> Reals:
    """Return an array of the weights' shape that holds at every weight the factor [inputs] of its input channel."""
    shape = weights.array.shape
    if weights.node.op_type == "Conv":
        return _grouped(factors, weights)
    axis = 0 if weights.node.op_type == "ConvTranspose" else 1 - (weights.axis or 0)
    return np.broadcast_to(_along(factors, axis, len(shape)), shape)


def per_output(weights: Weights, array: Reals) -> Reals:
    """Return the weights' shape as [outputs, all that belongs to one]."""
    if weights.node.op_type == "ConvTranspose":
        groups = groups_of(weights.node)
        split = array.reshape(groups, -1, *array.shape[1:])
        return np.moveaxis(split, 2, 1).reshape(groups * array.shape[1], -1)
    return np.moveaxis(array, weights.axis or 0, 0).reshape(outputs_of(weights), -1)


def groups_of(node: "ir.Node") -> int:
    """Return a convolution's groups."""
    return int(node.attributes.get_int("group", 1) or 1)


def _grouped(factors: Reals, weights: Weights) -> Reals:
    """Spread factors over the second axis of grouped weights: it counts the channels inside a group."""
    shape, groups = weights.array.shape, groups_of(weights.node)
    split = (groups, shape[0] // groups, *shape[1:])
    return np.broadcast_to(factors.reshape(groups, 1, shape[1], *(1 for _ in shape[2:])), split).reshape(shape)


def _along(factors: Reals, axis: int, rank: int) -> Reals:
    return factors.reshape([-1 if one == axis else 1 for one in range(rank)])
