"""Reductions over axes, wherever these are stored."""

from collections.abc import Callable, Sequence

from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

Write = Callable[[Builder, Ref], Ref]


def _as_it_is(_b: Builder, x: Ref) -> Ref:
    return x


def reduction(op: str, before: Write = _as_it_is, after: Write = _as_it_is) -> Callable[[Builder, Node], None]:
    """Return a lowering over axes given as an attribute or, in newer opsets, as an input."""

    def lower(b: Builder, node: Node) -> None:
        x, given = b.input(node), b.constant_of(node, 1)
        axes = [int(a) % x.rank for a in (given if given is not None else node.attributes.get("axes", []))]
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            b.set(node.outputs[0], Tensor(after(b, before(b, x.ref)), x.perm))
            return
        axes = axes or list(range(x.rank))
        ref = after(b, reduce(b, op, before(b, x.ref), [x.perm.index(axis) for axis in axes]))
        _finish(b, node, Tensor(ref, x.perm), axes)

    return lower


def place(op: str) -> Callable[[Builder, Node], None]:
    """Return a lowering to the place of the first highest or lowest value along one axis."""

    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        if node.attributes.get("select_last_index", 0):
            raise b.refuse(node, "the last of equal values is asked for")
        axis = node.attributes.get("axis", 0) % x.rank
        stored = x.perm.index(axis)
        shape = [size for number, size in enumerate(x.ref.shape) if number != stored]
        ref = b.module.op(op, [x.ref, b.module.ints([stored])], "", shape, "int64")
        _finish(b, node, Tensor(b.reshaped(ref, (*shape[:stored], 1, *shape[stored:])), x.perm), [axis])

    return lower


def _finish(b: Builder, node: Node, kept: Tensor, axes: Sequence[int]) -> None:
    """Name a result whose reduced axes are there with size 1, without them if they are to go."""
    if node.attributes.get("keepdims", 1):
        b.set(node.outputs[0], kept)
        return
    left = [axis for axis in kept.perm if axis not in axes]
    number = {axis: at for at, axis in enumerate(sorted(left))}
    ref = b.reshaped(kept.ref, [kept.shape[axis] for axis in left])
    b.set(node.outputs[0], Tensor(ref, tuple(number[axis] for axis in left)))


def reduce(b: Builder, op: str, ref: Ref, axes: Sequence[int]) -> Ref:
    """Write a reduction over stored axes, which stay with size 1."""
    shape = [1 if axis in axes else size for axis, size in enumerate(ref.shape)]
    return b.module.op(op, [ref, b.module.ints(sorted(axes))], "keep_dims = true", shape, ref.dtype)


REDUCTIONS = {
    "ReduceMean": reduction("mean"),
    "ReduceSum": reduction("sum"),
    "ReduceMax": reduction("reduce_max"),
    "ReduceMin": reduction("reduce_min"),
    "ReduceProd": reduction("reduce_prod"),
    "ReduceL1": reduction("sum", before=lambda b, x: b.unary("abs", x)),
    "ReduceL2": reduction("sum", before=lambda b, x: b.binary("mul", x, x), after=lambda b, x: b.unary("sqrt", x)),
    "ReduceSumSquare": reduction("sum", before=lambda b, x: b.binary("mul", x, x)),
    "ArgMax": place("arg_max"),
    "ArgMin": place("arg_min"),
}
