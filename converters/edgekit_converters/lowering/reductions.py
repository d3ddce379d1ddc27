"""Reductions over axes, wherever these are stored, and the places of the highest and lowest values."""

from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.lowering.arithmetic import absolute, cast, compare, widened
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.dims import Dim
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

_LOWEST, _HIGHEST = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)

_OF_NOTHING = {"reduce_max": -np.inf, "reduce_min": np.inf}


class Axes:
    """Stored axes to reduce; they stay with size 1."""

    def __init__(self, b: Builder, like: Ref, axes: Sequence[int]) -> None:
        """Hold the axes of `like`."""
        self._b = b
        self._operand = b.module.ints(sorted(axes))
        self.kept = [1 if axis in axes else size for axis, size in enumerate(like.shape)]

    def reduce(self, op: str, x: Ref) -> Ref:
        """Write a reduction."""
        return self._b.module.op(op, [x, self._operand], "keep_dims = true", self.kept, x.dtype)

    def beside(self, op: str, x: Ref) -> Ref:
        """Write a reduction that broadcasts against what is reduced."""
        return self.reduce(op, x)


class UnknownAxes(Axes):
    """Axes that an operand names at run time; the shape of what comes out is what the model declares."""

    def __init__(self, b: Builder, like: Ref, operand: Ref, shape: Sequence[int]) -> None:
        """Hold the operand."""
        self._b = b
        self._operand = operand
        self._like = like
        self.kept = list(shape)

    def reduce(self, op: str, x: Ref) -> Ref:
        """Write a reduction to the declared shape."""
        keep = "true" if len(self.kept) == len(x.shape) else "false"
        return self._b.module.op(op, [x, self._operand], f"keep_dims = {keep}", self.kept, x.dtype)

    def beside(self, op: str, x: Ref) -> Ref:
        """Write a reduction that broadcasts: which of its sizes are 1 is not known."""
        sizes = [Dim((size,), f"{self._operand.name} {axis}") for axis, size in enumerate(self._like.shape)]
        return self._b.module.op(op, [x, self._operand], "keep_dims = true", sizes, x.dtype)


Write = Callable[[Builder, Ref, Axes], Ref]


def reduction(write: Write) -> Callable[[Builder, Node], None]:
    """Return a lowering over axes given as an attribute or, in newer opsets, as an input."""

    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        name = node.inputs[1] if len(node.inputs) > 1 else ""
        if name and not b.is_constant(name) and b.shape_of(name) != (0,):
            _over_unknown(b, node, x, write)
            return
        given = b.graph.constants[name].tolist() if name and b.is_constant(name) else node.attributes.get("axes", [])
        axes = [axis % x.rank for axis in given]
        if not axes and not node.attributes.get("noop_with_empty_axes", 0):
            axes = list(range(x.rank))
        ref = write(b, x.ref, Axes(b, x.ref, [x.perm.index(axis) for axis in axes]))
        _finish(b, node, Tensor(ref, x.perm), axes)

    return lower


def _over_unknown(b: Builder, node: Node, x: Tensor, write: Write) -> None:
    plain, out = b.plain(x), b.shape_of(node.outputs[0])
    operand = cast(b, b.input(node, 1).ref, "int32")
    b.set(node.outputs[0], Tensor(write(b, plain, UnknownAxes(b, plain, operand, out)), identity(len(out))))


def place(op: str) -> Callable[[Builder, Node], None]:
    """Return a lowering to the first (or last) highest or lowest value along one axis."""
    top = "reduce_max" if op == "arg_max" else "reduce_min"

    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        axis = node.attributes.get("axis", 0) % x.rank
        stored = x.perm.index(axis)
        ref, along = widened(b, x.ref), Axes(b, x.ref, [stored])
        last, name = node.attributes.get("select_last_index", 0), op
        if ref.dtype == "int64":  # which ARG_MAX does not take: where is the extreme value?
            ref, name = cast(b, compare(b, "equal", ref, along.reduce(top, ref)), "int32"), "arg_max"
        if last:
            ref = b.module.op("reverse_v2", [ref, b.module.ints([stored])], "", ref.shape, ref.dtype)
        shape = [size for number, size in enumerate(x.ref.shape) if number != stored]
        found = b.module.op(name, [ref, b.module.ints([stored])], "", shape, "int64")
        if last:
            end = cast(b, b.reshaped(b.module.ints([x.ref.shape[stored] - 1]), ()), "int64")
            found = b.binary("sub", end, found)
        _finish(b, node, Tensor(b.reshaped(found, along.kept), x.perm), [axis])

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
    return Axes(b, ref, axes).reduce(op, ref)


def _own(op: str, of_truths: str = "") -> Write:
    """Return TFLite's reduction; of truths it has others."""

    def write(b: Builder, x: Ref, axes: Axes) -> Ref:
        if x.dtype == "bool" and of_truths:
            return axes.reduce(of_truths, x)
        if op in _OF_NOTHING and x.dtype == "float32" and 0 in x.shape:  # TFLite gives the largest finite numbers
            operands = [b.module.ints(axes.kept), b.scalar(_OF_NOTHING[op])]
            return b.module.op("fill", operands, "", axes.kept, x.dtype)
        return cast(b, axes.reduce(op, widened(b, x)), x.dtype)

    return write


def _root_of_squares(b: Builder, x: Ref, axes: Axes) -> Ref:
    floats = cast(b, x, "float32")
    return cast(b, b.unary("sqrt", axes.reduce("sum", b.binary("mul", floats, floats))), x.dtype)


def _log_sum(b: Builder, x: Ref, axes: Axes) -> Ref:
    return b.unary("log", axes.reduce("sum", x))


def _log_sum_exp(b: Builder, x: Ref, axes: Axes) -> Ref:
    """The highest value goes out of the sum, so that no exponential overflows; an infinite one is made finite first."""
    inside = _finite(b, axes.beside("reduce_max", x))
    outside = inside if type(axes) is Axes else _finite(b, axes.reduce("reduce_max", x))
    return b.binary("add", _log_sum(b, b.unary("exp", b.binary("sub", x, inside)), axes), outside)


def _finite(b: Builder, x: Ref) -> Ref:
    return b.binary("minimum", b.binary("maximum", x, b.scalar(_LOWEST)), b.scalar(_HIGHEST))


REDUCTIONS = {
    "ReduceMean": reduction(_own("mean")),
    "ReduceSum": reduction(_own("sum")),
    "ReduceMax": reduction(_own("reduce_max", "reduce_any")),
    "ReduceMin": reduction(_own("reduce_min", "reduce_all")),
    "ReduceProd": reduction(_own("reduce_prod")),
    "ReduceL1": reduction(lambda b, x, axes: axes.reduce("sum", absolute(b, x))),
    "ReduceL2": reduction(_root_of_squares),
    "ReduceSumSquare": reduction(lambda b, x, axes: axes.reduce("sum", b.binary("mul", x, x))),
    "ReduceLogSum": reduction(_log_sum),
    "ReduceLogSumExp": reduction(_log_sum_exp),
    "ArgMax": place("arg_max"),
    "ArgMin": place("arg_min"),
}
