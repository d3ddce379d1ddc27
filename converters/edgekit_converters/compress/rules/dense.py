"""Convolutions that look at a whole image are dense layers, and dense layers are convolutions of one place.

Which of the two is faster is a matter of the runtime: the way back is on request alone.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.rules.base import Match, RefusedError, Rule
from edgekit_converters.compress.rules.draft import Draft
from edgekit_converters.compress.rules.layer import Layer, layer_of
from edgekit_converters.compress.rules.linear import dilations_of, pads_of
from edgekit_converters.compress.rules.pattern import Any, op
from edgekit_converters.compress.rules.values import is_fixed, sizes_of
from edgekit_converters.graph.scaling import groups_of

if TYPE_CHECKING:
    import onnx_ir as ir

_SIDES = 2  # the first axis behind the channels


@dataclass(frozen=True, slots=True)
class _Dense:
    layer: Layer
    ones: int
    """How many sides the image has."""


class ConvToDense(Rule[_Dense]):
    """A kernel as large as the image (1x1 on 1x1 among them) is a matrix."""

    name = "conv-to-dense"
    help = "a convolution whose kernel covers all of the image into Gemm"
    patterns = (op("Conv", Any("x")),)

    def find(self, model: "ir.Model", node: "ir.Node") -> Iterator[Match]:
        """Yield a convolution whose kernel is as large as the image: others are no near miss."""
        for match in super().find(model, node):
            sizes, weights = sizes_of(match.value("x")), node.inputs[1]
            kernel = None if weights is None else sizes_of(weights)
            if sizes is not None and kernel is not None and is_fixed(sizes[1:]) and sizes[_SIDES:] == kernel[_SIDES:]:
                yield match

    def check(self, match: Match) -> _Dense:
        """Take a kernel that stands at one place alone."""
        node = match.root
        kernel = tuple(node.inputs[1].shape)[_SIDES:]  # type: ignore[union-attr, arg-type]  # it was found by it
        if pads_of(node, len(kernel)) != (0,) * 2 * len(kernel) or any(
            one != 1 for one in dilations_of(node, len(kernel))
        ):
            raise RefusedError("it pads, or its kernel has gaps")
        layer = layer_of(node)
        if groups_of(node) != 1:
            raise RefusedError("it has groups")
        return _Dense(layer, len(kernel))

    def rewrite(self, draft: Draft, match: Match, plan: _Dense) -> str:
        """Write Flatten, Gemm and a Reshape back to an image."""
        layer = plan.layer
        outputs = len(layer.bias)
        flat = draft.op("Flatten", match.value("x"), attributes={"axis": 1})
        weights = draft.floats(layer.array.reshape(outputs, -1), layer.weights.value, "weights")
        bias = draft.floats(layer.bias, layer.weights.value, "bias")
        name = str(match.root.name or "")
        dense = draft.op("Gemm", flat, weights, bias, name=name, attributes={"transB": 1})
        draft.instead(draft.op("Reshape", dense, draft.whole([-1, outputs, *(1,) * plan.ones], "image")))
        return "Conv of one place into Gemm"


class DenseToConv(Rule[Layer]):
    """A dense layer as a 1x1 convolution of a 1x1 image: for accelerators that have no matrix product."""

    name = "dense-to-conv"
    help = "Gemm and MatMul of rows into 1x1 convolutions"
    default = False
    patterns = (op("Gemm MatMul", Any("x")),)

    def check(self, match: Match) -> Layer:
        """Take rows."""
        layer = layer_of(match.root)
        sizes = sizes_of(match.value("x"))
        if sizes is None or len(sizes) != _SIDES:
            raise RefusedError("it does not take rows [N, features]")
        return layer

    def rewrite(self, draft: Draft, match: Match, plan: Layer) -> str:
        """Write Reshape, Conv and Flatten."""
        matrix = plan.matrix.T
        image = draft.op("Reshape", match.value("x"), draft.whole([-1, matrix.shape[1], 1, 1], "image"))
        weights = draft.floats(matrix[:, :, np.newaxis, np.newaxis], plan.weights.value, "weights")
        bias = draft.floats(plan.bias, plan.weights.value, "bias")
        made = draft.op(
            "Conv", image, weights, bias, name=str(match.root.name or ""), attributes={"kernel_shape": [1, 1]}
        )
        draft.instead(draft.op("Flatten", made, attributes={"axis": 1}))
        return f"{match.root.op_type} into a 1x1 Conv"
