"""Arithmetic, comparisons and choices, value by value with broadcasting."""

import numpy as np

from edgekit_converters.lowering.activations import Lowering, own, unary
from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

_ROOTS = {0.5: "sqrt", -0.5: "rsqrt"}


def binary(op: str) -> Lowering:
    """Return a lowering that combines the inputs one after the other."""

    def lower(b: Builder, node: Node) -> None:
        refs, perm = b.operands(node)
        result = refs[0]
        for other in refs[1:]:
            result = b.binary(op, result, other)
        _finish(b, node, result, perm)

    return lower


def _compare(op: str) -> Lowering:
    def lower(b: Builder, node: Node) -> None:
        (left, right), perm = b.operands(node)
        shape = np.broadcast_shapes(left.shape, right.shape)
        _finish(b, node, b.module.op(op, [left, right], "", shape, "bool"), perm)

    return lower


def _finish(b: Builder, node: Node, result: Ref, perm: tuple[int, ...]) -> None:
    """Name a result; one whose operands were all single numbers gets its full shape."""
    shape = b.shape_of(node.outputs[0])
    b.set(node.outputs[0], Tensor(b.reshaped(result, [shape[axis] for axis in perm]), perm))


def power(b: Builder, node: Node) -> None:
    """A square or a root is one: cheaper, and with an integer kernel."""
    exponent = b.graph.constants.get(node.inputs[1])
    x = b.input(node) if not b.is_constant(node.inputs[0]) else None
    if x is None or x.dtype != "float32" or exponent is None or exponent.size != 1 or exponent.ndim > x.rank:
        binary("pow")(b, node)
        return
    value = float(exponent.ravel()[0])
    if value in _ROOTS:
        ref = b.unary(_ROOTS[value], x.ref)
    else:
        ref = b.binary("mul", x.ref, x.ref) if value == 2.0 else b.binary("pow", x.ref, b.scalar(value))  # noqa: PLR2004
    b.set(node.outputs[0], Tensor(ref, x.perm))


def cast(b: Builder, node: Node) -> None:
    """Between float32, int32, int64, bool and small integers."""
    tensor, dtype = b.input(node), b.graph.values[node.outputs[0]].dtype
    ref = tensor.ref if dtype == tensor.dtype else b.module.op("cast", [tensor.ref], "", tensor.ref.shape, dtype)
    b.set(node.outputs[0], Tensor(ref, tensor.perm))


def where(b: Builder, node: Node) -> None:
    """TFLite's newer select broadcasts."""
    (condition, left, right), perm = b.operands(node)
    shape = np.broadcast_shapes(condition.shape, left.shape, right.shape)
    _finish(b, node, b.module.op("select_v2", [condition, left, right], "", shape, left.dtype), perm)


ELEMENTWISE: dict[str, Lowering] = {
    "Add": binary("add"),
    "Sub": binary("sub"),
    "Mul": binary("mul"),
    "Div": binary("div"),
    "Pow": power,
    "Min": binary("minimum"),
    "Max": binary("maximum"),
    "Sum": binary("add"),
    "Sqrt": own("sqrt"),
    "Exp": own("exp"),
    "Log": own("log"),
    "Abs": own("abs"),
    "Neg": own("neg"),
    "Sign": own("sign"),
    "Floor": own("floor"),
    "Ceil": own("ceil"),
    "Round": own("round"),
    "Sin": own("sin"),
    "Cos": own("cos"),
    "Reciprocal": unary(lambda b, _node, x: b.binary("div", b.scalar(1.0), x)),
    "Equal": _compare("equal"),
    "Greater": _compare("greater"),
    "GreaterOrEqual": _compare("greater_equal"),
    "Less": _compare("less"),
    "LessOrEqual": _compare("less_equal"),
    "Not": own("logical_not"),
    "And": _compare("logical_and"),
    "Or": _compare("logical_or"),
    "Xor": _compare("not_equal"),
    "Cast": cast,
    "CastLike": cast,
    "Where": where,
}
