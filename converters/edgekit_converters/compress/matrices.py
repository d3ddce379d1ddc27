"""Weights of layers as [groups, outputs, columns], the columns as runtimes have them: channels of a place together."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.graph.weights import Reals, Weights

_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_MATRIX = 2  # dimensions


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Matrices:
    """The weights of a layer, and how they are laid out."""

    layer: Weights
    values: Reals
    """[groups, outputs, columns]"""
    channels: int
    """Inputs a group; columns are those of a place of the kernel, then those of the next."""
    order: NDArray[np.intp]
    """Which column of `moments` each column is."""

    def array(self, values: Reals) -> Reals:
        """Return other values of that form as an array of the layer's."""
        shape = self.layer.array.shape
        if self.layer.node.op_type == "Conv":
            return np.asarray(values[:, :, np.argsort(self.order)].reshape(shape), np.float64)
        return np.asarray(values[0] if self.layer.axis == 0 else values[0].T, np.float64)


def why_not(layer: Weights) -> str:
    """Return why a layer has no such form, or nothing."""
    if layer.node.op_type not in _LAYERS:
        return f"{layer.node.op_type} is no convolution and no dense layer"
    if layer.place != 1 and layer.node.op_type != "MatMul":
        return "its weights stand on the left"
    if layer.node.op_type != "Conv" and layer.array.ndim != _MATRIX:
        return "its weights are no matrix"
    return ""


def matrices_of(layer: Weights) -> Matrices:
    """Return the form of a layer that `why_not` says nothing of."""
    array = layer.array
    if layer.node.op_type != "Conv":
        matrix = array if layer.axis == 0 else array.T
        columns = matrix.shape[1]
        return Matrices(layer=layer, values=matrix[None], channels=columns, order=np.arange(columns))
    groups = layer.node.attributes.get_int("group", 1) or 1
    channels = array.shape[1]
    values = array.reshape(groups, len(array) // groups, -1)
    order = np.arange(values.shape[2]).reshape(channels, -1).T.ravel()
    return Matrices(layer=layer, values=values[:, :, order], channels=channels, order=order)
