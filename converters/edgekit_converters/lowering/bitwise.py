"""Operations on the bits of integers, of which TFLite has XOR and the shift to the right, both of int32 at most.

    a and b = (a + b - (a xor b)) / 2        a or b = (a + b + (a xor b)) / 2        not a = -1 - a

The sums need one bit more than a and b have, so int32 is computed in int64.
"""

from edgekit_converters.lowering.activations import Lowering, unary
from edgekit_converters.lowering.arithmetic import binary, cast, widened
from edgekit_converters.lowering.builder import Builder, Perm, Tensor
from edgekit_converters.lowering.dims import broadcast
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered

_ALL_BITS = 8  # of a uint8


def _pair(b: Builder, node: Node) -> tuple[Ref, Ref, Perm]:
    (left, right), perm = b.operands(node)
    if left.dtype == "int64":
        raise b.refuse(node, "TFLite has no bits of int64")
    return widened(b, left), widened(b, right), perm


def _set(b: Builder, node: Node, ref: Ref, perm: Perm) -> None:
    shape, dtype = b.shape_of(node.outputs[0]), b.graph.values[node.outputs[0]].dtype
    b.set(node.outputs[0], Tensor(b.reshaped(cast(b, ref, dtype), [shape[axis] for axis in perm]), perm))


def _xor(b: Builder, left: Ref, right: Ref) -> Ref:
    return b.module.op("bitwise_xor", [left, right], "", broadcast(left.shape, right.shape), "int32")


def exclusive(b: Builder, node: Node) -> None:
    """BITWISE_XOR."""
    left, right, perm = _pair(b, node)
    _set(b, node, _xor(b, left, right), perm)


def _half_sum(op: str) -> Lowering:
    def lower(b: Builder, node: Node) -> None:
        left, right, perm = _pair(b, node)
        total = b.binary("add", cast(b, left, "int64"), cast(b, right, "int64"))
        doubled = b.binary(op, total, cast(b, _xor(b, left, right), "int64"))
        _set(b, node, _halved(b, doubled), perm)

    return lower


def _halved(b: Builder, ref: Ref) -> Ref:
    """Halve even int64 of at most 33 bits: TFLite does not divide them, but float32 holds their upper 16 bits."""
    low = b.binary("floor_mod", ref, b.scalar(2**17, "int64"))
    high = b.binary("mul", cast(b, b.binary("sub", ref, low), "float32"), b.scalar(2.0**-17))
    half = b.binary("div", cast(b, low, "int32"), b.scalar(2, "int32"))
    return b.binary("add", b.binary("mul", cast(b, high, "int32"), b.scalar(2**16, "int32")), half)


def shift(b: Builder, node: Node) -> None:
    """To the left as a product with a power of two. ONNX shifts unsigned integers only, of which uint8 gets here."""
    left, right, perm = _pair(b, node)
    right = b.binary("minimum", right, b.scalar(_ALL_BITS, "int32"))
    if node.attributes["direction"] == "LEFT":
        powers = b.module.ints([2**place for place in range(_ALL_BITS + 1)])
        _set(b, node, b.binary("mul", left, gathered(b, powers, right, 0)), perm)
        return
    shape = broadcast(left.shape, right.shape)
    _set(b, node, b.module.op("right_shift", [left, right], "", shape, "int32"), perm)


def _inverted(b: Builder, _node: Node, x: Ref) -> Ref:
    return cast(b, binary(b, "sub", b.scalar(-1, widened(b, x).dtype), widened(b, x)), x.dtype)


BITWISE: dict[str, Lowering] = {
    "BitwiseAnd": _half_sum("sub"),
    "BitwiseOr": _half_sum("add"),
    "BitwiseXor": exclusive,
    "BitwiseNot": unary(_inverted),
    "BitShift": shift,
}
