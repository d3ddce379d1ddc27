"""Softmax and its logarithm: TFLite has them along the last axis."""

import math
from collections.abc import Callable

from edgekit_converters.lowering.arithmetic import cast
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

_ONE_AXIS = 13  # from this opset on the axis is one axis; before, it and all behind it count as one


def _along_last(op: str, attributes: str) -> Callable[[Builder, Node], None]:
    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        new = b.graph.opset >= _ONE_AXIS
        axis = node.attributes.get("axis", -1 if new else 1) % x.rank
        if not new and axis != x.rank - 1:
            shape = x.shape
            flat = b.reshaped(b.plain(x), (math.prod(shape[:axis]), math.prod(shape[axis:])))
            ref = b.reshaped(b.unary(op, flat, attributes), shape)
            b.set(node.outputs[0], Tensor(ref, identity(x.rank)))
            return
        if x.perm[-1] == axis:
            b.set(node.outputs[0], Tensor(_of_rows(b, op, x.ref, attributes), x.perm))
            return
        perm = (*(one for one in x.perm if one != axis), axis)
        b.set(node.outputs[0], Tensor(_of_rows(b, op, b.order(x, perm).ref, attributes), perm))

    return lower


def _of_rows(b: Builder, op: str, ref: Ref, attributes: str) -> Ref:
    """Apply an op along the last axis; TFLite's take up to four axes, and float32 only."""
    if ref.dtype == "float64":
        return cast(b, _of_rows(b, op, cast(b, ref, "float32"), attributes), "float64")
    if len(ref.shape) <= 4:  # noqa: PLR2004
        return b.unary(op, ref, attributes)
    flat = b.reshaped(ref, (math.prod(ref.shape[:-1]), ref.shape[-1]))
    return b.reshaped(b.unary(op, flat, attributes), ref.shape)


SOFTMAX = {
    "Softmax": _along_last("softmax", "beta = 1.0 : f32"),
    "LogSoftmax": _along_last("log_softmax", ""),
}
