"""The highest and lowest values along an axis."""

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.arithmetic import cast, single, widened
from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref


def top_k(b: Builder, node: Node) -> None:
    """TFLite's TOPK_V2 takes the highest of the last axis in order; of equal values the first comes first."""
    x = b.input(node)
    axis = node.attributes.get("axis", -1) % x.rank
    perm = (*(one for one in x.perm if one != axis), axis)
    ref = widened(b, b.order(x, perm).ref)
    smallest = not node.attributes.get("largest", 1)
    out = b.shape_of(node.outputs[0] or node.outputs[1])
    shape = [out[one] for one in perm]
    operands = [_mirrored(b, ref) if smallest else ref, _count(b, node)]
    values, places = b.module.ops("topk_v2", operands, "", [shape, shape], [ref.dtype, "int32"])
    values = cast(b, _mirrored(b, values) if smallest else values, x.dtype)
    for name, result in zip(node.outputs, (values, cast(b, places, "int64")), strict=False):
        if name:
            b.set(name, Tensor(result, perm))


def _count(b: Builder, node: Node) -> Ref:
    if len(node.inputs) == 1:  # up to opset 9
        return b.module.ints(node.attributes["k"])
    return single(b, b.input(node, 1).ref, "int32")


def _mirrored(b: Builder, ref: Ref) -> Ref:
    """Turn the order of the values around and back: -x, of integers -1 - x, which has no exception at the lowest."""
    return b.unary("neg", ref) if ref.dtype == "float32" else b.binary("sub", b.scalar(-1, ref.dtype), ref)


SORTING: dict[str, Lowering] = {"TopK": top_k}
