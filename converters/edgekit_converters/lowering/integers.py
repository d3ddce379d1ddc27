"""Products of quantized matrices, exactly."""

from collections.abc import Sequence

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.arithmetic import cast
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.matrix import batched
from edgekit_converters.lowering.module import Ref

# float32 is exact up to 2^24, and 256 products of two differences of bytes stay below.
_EXACT = 256
_MOST_PARTS = 64


def matmul_integer(b: Builder, node: Node) -> None:
    """In float32, as TFLite multiplies no integer matrices, in parts that stay exact; their sum in int32."""
    out = b.shape_of(node.outputs[0])
    left, right = (_centred(b, node, place) for place in (0, 1))
    if len(left.shape) < 2 or len(right.shape) < 2:  # noqa: PLR2004
        raise b.refuse(node, "one of its operands is a vector")
    inner = left.shape[-1]
    if is_free(inner) or inner > _EXACT * _MOST_PARTS:
        raise b.refuse(node, f"it sums over {inner} products, {_EXACT * _MOST_PARTS} are the most")
    total = None
    for start in range(0, inner, _EXACT):
        size = min(_EXACT, inner - start)
        parts = _part(b, left, -1, start, size), _part(b, right, -2, start, size)
        found = cast(b, batched(b, *parts, out), "int32")
        total = found if total is None else b.binary("add", total, found)
    if total is None:
        raise b.refuse(node, "it sums over nothing")
    b.set(node.outputs[0], Tensor(total, identity(len(out))))


def _centred(b: Builder, node: Node, place: int) -> Ref:
    """Return an operand as float32, its zero point taken off: one number, or one a row of A or a column of B."""
    ref = cast(b, b.plain(b.input(node, place)), "float32")
    name = node.inputs[place + 2] if place + 2 < len(node.inputs) else ""
    if not name:
        return ref
    zero = cast(b, b.plain(b.tensor(name)), "float32")
    if len(zero.shape) == 1 and zero.shape[0] != 1 and place == 0:
        zero = b.reshaped(zero, (zero.shape[0], 1))
    return b.binary("sub", ref, zero)


def _part(b: Builder, ref: Ref, axis: int, start: int, size: int) -> Ref:
    if ref.shape[axis] == size:
        return ref
    begin, sizes = [0] * len(ref.shape), _replaced(ref.shape, axis, size)
    begin[axis] = start
    return b.module.op("slice", [ref, b.module.ints(begin), b.module.ints(sizes)], "", sizes, ref.dtype)


def _replaced(shape: Sequence[int], axis: int, size: int) -> list[int]:
    sizes = list(shape)
    sizes[axis] = size
    return sizes


INTEGERS: dict[str, Lowering] = {"MatMulInteger": matmul_integer}
