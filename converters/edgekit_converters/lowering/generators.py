"""Ops that make values out of sizes and places: diagonals, ranges, one-hot vectors, triangles."""

import numpy as np

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.arithmetic import binary, cast, compare, counted, select, single
from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref


def range_(b: Builder, node: Node) -> None:
    """The bounds may be those of run time."""
    operands = [single(b, b.tensor(name).ref) for name in node.inputs]
    out = b.shape_of(node.outputs[0])
    b.set(node.outputs[0], Tensor(b.module.op("range", operands, "", out, operands[0].dtype), identity(1)))


def constant_of_shape(b: Builder, node: Node) -> None:
    """The shape may be that of run time."""
    value, out = node.attributes.get("value"), b.shape_of(node.outputs[0])
    number = np.float32(0) if value is None else _number(value)
    operands = [b.input(node).ref, b.module.constant(np.asarray(number))]
    ref = b.module.op("fill", operands, "", out, number.dtype.name)
    b.set(node.outputs[0], Tensor(ref, identity(len(out))))


def _number(value: object) -> np.generic:
    import onnx

    array = onnx.numpy_helper.to_array(value)
    return array.ravel()[0]  # type: ignore[no-any-return]  # onnx has loose types


def eye_like(b: Builder, node: Node) -> None:
    """Ones on a diagonal; only the input's shape counts."""
    x, dtype = b.input(node), b.graph.values[node.outputs[0]].dtype
    apart = _apart(b, x.shape)
    on = compare(b, "equal", apart, b.module.ints(node.attributes.get("k", 0)))
    b.set(node.outputs[0], Tensor(cast(b, on, dtype), identity(2)))


def trilu(b: Builder, node: Node) -> None:
    """What lies above (or below) a diagonal of the last two axes stays, the rest becomes zero."""
    x = b.input(node)
    given = len(node.inputs) > 1 and node.inputs[1]
    diagonal = single(b, b.input(node, 1).ref, "int32") if given else b.module.ints(0)
    op = "greater_equal" if node.attributes.get("upper", 1) else "less_equal"
    stays = compare(b, op, _apart(b, x.shape), diagonal)
    ref = select(b, stays, b.plain(x), b.scalar(0, x.dtype))
    b.set(node.outputs[0], Tensor(ref, identity(x.rank)))


def _apart(b: Builder, shape: tuple[int, ...]) -> Ref:
    """Return column minus row for each place of the last two axes, int32."""
    rows, columns = counted(b, shape[-2]), counted(b, shape[-1])
    return b.binary("sub", b.reshaped(columns, (1, shape[-1])), b.reshaped(rows, (shape[-2], 1)))


def one_hot(b: Builder, node: Node) -> None:
    """A place below 0 counts from the end; one outside gives no "on" at all, as in TFLite."""
    places = cast(b, b.plain(b.input(node)), "int32")
    out = b.shape_of(node.outputs[0])
    depth = single(b, b.input(node, 1).ref, "int32")
    places = select(b, compare(b, "less", places, b.module.ints(0)), b.binary("add", places, depth), places)
    off, on = _both(b, node)
    attributes = f"axis = {node.attributes.get('axis', -1) % len(out)} : i32"
    ref = b.module.op("one_hot", [places, depth, on, off], attributes, out, on.dtype)
    b.set(node.outputs[0], Tensor(ref, identity(len(out))))


def _both(b: Builder, node: Node) -> tuple[Ref, Ref]:
    """Return the two values, off and on."""
    name = node.inputs[2]
    if b.is_constant(name):
        off, on = b.graph.constants[name]
        return b.module.constant(np.asarray(off)), b.module.constant(np.asarray(on))
    values = b.tensor(name).ref
    operands = [[values, b.module.ints([place]), b.module.ints([1])] for place in (0, 1)]
    off, on = (b.reshaped(b.module.op("slice", one, "", (1,), values.dtype), ()) for one in operands)
    return off, on


def cumulative_sum(b: Builder, node: Node) -> None:
    """Along an axis that may be known at run time only."""
    x, attributes = b.input(node), _course(node)
    name = node.inputs[1]
    if b.is_constant(name):
        axis = b.module.ints(x.stored_axis(int(b.graph.constants[name].item())))
    else:
        x = Tensor(b.plain(x), identity(x.rank))
        axis = single(b, b.tensor(name).ref, "int32")
    b.set(node.outputs[0], Tensor(b.module.op("cumsum", [x.ref, axis], attributes, x.ref.shape, x.dtype), x.perm))


def _course(node: Node) -> str:
    exclusive, backwards = (bool(node.attributes.get(name, 0)) for name in ("exclusive", "reverse"))
    return f"exclusive = {str(exclusive).lower()}, reverse = {str(backwards).lower()}"


def cumulative_product(b: Builder, node: Node) -> None:
    """TFLite has none: products with what lies 1, 2, 4, ... places before, until all of the axis is in."""
    x, axis = b.input(node), b.constant_of(node, 1)
    if axis is None:
        raise b.refuse(node, "it has no axis")
    stored = x.stored_axis(int(axis.item()))
    size, back = x.ref.shape[stored], bool(node.attributes.get("reverse", 0))
    result = _shifted(b, x.ref, stored, 1, back=back) if node.attributes.get("exclusive", 0) else x.ref
    step = 1
    while step < size:
        result = binary(b, "mul", result, _shifted(b, result, stored, step, back=back))
        step *= 2
    b.set(node.outputs[0], Tensor(result, x.perm))


def _shifted(b: Builder, ref: Ref, axis: int, by: int, *, back: bool) -> Ref:
    """Move values along an axis, forwards or back, with ones behind them."""
    rank, shape = len(ref.shape), ref.shape
    begin, size = [0] * rank, list(shape)
    begin[axis], size[axis] = (by if back else 0), shape[axis] - by
    kept = b.module.op("slice", [ref, b.module.ints(begin), b.module.ints(size)], "", size, ref.dtype)
    pads = [[0, 0] for _ in range(rank)]
    pads[axis] = [0, by] if back else [by, 0]
    return b.module.op("padv2", [kept, b.module.ints(pads), b.scalar(1, ref.dtype)], "", shape, ref.dtype)


GENERATORS: dict[str, Lowering] = {
    "Range": range_,
    "ConstantOfShape": constant_of_shape,
    "EyeLike": eye_like,
    "Trilu": trilu,
    "OneHot": one_hot,
    "CumSum": cumulative_sum,
    "CumProd": cumulative_product,
}
