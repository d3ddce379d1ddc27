"""Arithmetic, comparisons and choices, value by value with broadcasting."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgekit_converters.lowering.activations import Lowering
from edgekit_converters.lowering.arithmetic import absolute, binary, cast, compare, quotient, select
from edgekit_converters.lowering.builder import Builder, Perm, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

_MOST_FACTORS = 4  # beyond it, POW is the shorter way


def chained(op: str) -> Lowering:
    """Return a lowering that combines the inputs one after the other."""

    def lower(b: Builder, node: Node) -> None:
        result, perm = _combined(b, node, op)
        _finish(b, node, result, perm)

    return lower


def _combined(b: Builder, node: Node, op: str) -> tuple[Ref, Perm]:
    refs, perm = b.operands(node)
    result = refs[0]
    for other in refs[1:]:
        result = binary(b, op, result, other)
    return result, perm


def mean(b: Builder, node: Node) -> None:
    """The sum through the number of inputs."""
    result, perm = _combined(b, node, "add")
    if len(node.inputs) > 1:
        result = b.binary("div", result, b.scalar(len(node.inputs)))
    _finish(b, node, result, perm)


def divide(b: Builder, node: Node) -> None:
    """Integers are cut off towards zero."""
    (left, right), perm = b.operands(node)
    _finish(b, node, quotient(b, left, right), perm)


def comparison(op: str) -> Lowering:
    """Return a lowering to a comparison or a logical op."""

    def lower(b: Builder, node: Node) -> None:
        (left, right), perm = b.operands(node)
        _finish(b, node, compare(b, op, left, right), perm)

    return lower


def _finish(b: Builder, node: Node, result: Ref, perm: tuple[int, ...]) -> None:
    """Name a result; one whose operands were all single numbers gets its full shape."""
    shape = b.shape_of(node.outputs[0])
    b.set(node.outputs[0], Tensor(b.reshaped(result, [shape[axis] for axis in perm]), perm))


def power(b: Builder, node: Node) -> None:
    """A constant exponent that is a root or a small whole number needs no POW, which is slow."""
    exponent = b.graph.constants.get(node.inputs[1])
    if exponent is not None and exponent.size == 1 and not b.is_constant(node.inputs[0]):
        x, value = b.input(node), float(exponent.ravel()[0])
        short = _short_power(b, x.ref, value) if exponent.ndim <= x.rank else None
        if short is not None:
            b.set(node.outputs[0], Tensor(short, x.perm))
            return
    (base, by), perm = b.operands(node)
    if base.dtype == "int64" and by.dtype != "float32":
        raise b.refuse(node, "TFLite has no power of int64")
    # the result has the base's dtype, and floats decide how it is computed
    common = "float32" if "float32" in {base.dtype, by.dtype} else "int32"
    _finish(b, node, cast(b, b.binary("pow", cast(b, base, common), cast(b, by, common)), base.dtype), perm)


def _short_power(b: Builder, x: Ref, value: float) -> Ref | None:
    if x.dtype == "float32" and value in _FLOAT_POWERS:
        return _FLOAT_POWERS[value](b, x)
    if value not in range(1, _MOST_FACTORS + 1):
        return None
    result = x
    for _ in range(int(value) - 1):
        result = binary(b, "mul", result, x)
    return result


_FLOAT_POWERS: Mapping[float, Callable[[Builder, Ref], Ref]] = MappingProxyType(
    {
        0.5: lambda b, x: b.unary("sqrt", x),
        -0.5: lambda b, x: b.unary("rsqrt", x),
        -1.0: lambda b, x: b.binary("div", b.scalar(1.0), x),
    }
)


def modulo(b: Builder, node: Node) -> None:
    """TFLite's FLOOR_MOD has the divisor's sign, as `fmod = 0`; with 1 the sign is the dividend's."""
    (left, right), perm = b.operands(node)
    if not node.attributes.get("fmod", 0):
        _finish(b, node, binary(b, "floor_mod", left, right), perm)
        return
    rest = binary(b, "floor_mod", absolute(b, left), absolute(b, right))
    below = compare(b, "less", left, b.scalar(0, left.dtype))
    _finish(b, node, select(b, below, binary(b, "sub", b.scalar(0, left.dtype), rest), rest), perm)


def where(b: Builder, node: Node) -> None:
    """TFLite's newer select broadcasts."""
    (condition, left, right), perm = b.operands(node)
    _finish(b, node, select(b, condition, left, right), perm)


ELEMENTWISE: dict[str, Lowering] = {
    "Add": chained("add"),
    "Sub": chained("sub"),
    "Mul": chained("mul"),
    "Div": divide,
    "Pow": power,
    "Mod": modulo,
    "Min": chained("minimum"),
    "Max": chained("maximum"),
    "Sum": chained("add"),
    "Mean": mean,
    "Equal": comparison("equal"),
    "Greater": comparison("greater"),
    "GreaterOrEqual": comparison("greater_equal"),
    "Less": comparison("less"),
    "LessOrEqual": comparison("less_equal"),
    "And": comparison("logical_and"),
    "Or": comparison("logical_or"),
    "Xor": comparison("not_equal"),
    "Where": where,
}
