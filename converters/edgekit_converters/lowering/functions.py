"""Functions of one number: roots, exponentials, angles, signs, tests, and changes of dtype."""

import math

from edgekit_converters.lowering.activations import Lowering, own, unary
from edgekit_converters.lowering.arithmetic import absolute, cast, compare, widened
from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

_LN2 = math.log(2.0)


def _expanded(op: str) -> Lowering:
    """Return a lowering to the compiler's own expansion, where a short formula would lose digits near zero."""
    return unary(lambda b, _node, x: b.module.raw(f"chlo.{op} {x.name} : {x.type} -> {{out}}", x.shape, x.dtype))


def cast_to(b: Builder, node: Node) -> None:
    """Between float32, int32, int64, bool and small integers."""
    tensor, dtype = b.input(node), b.graph.values[node.outputs[0]].dtype
    ref = tensor.ref
    if ref.dtype == "float32" and dtype in {"int8", "uint8"}:
        ref = cast(b, ref, "int32")  # what does not fit wraps, as in NumPy, instead of being whatever the CPU does
    b.set(node.outputs[0], Tensor(cast(b, ref, dtype), tensor.perm))


def bit_cast(b: Builder, node: Node) -> None:
    """The same bits read as another dtype of the same width."""
    tensor, dtype = b.input(node), b.graph.values[node.outputs[0]].dtype
    ref = b.module.op("bitcast", [tensor.ref], "", tensor.ref.shape, dtype)
    b.set(node.outputs[0], Tensor(ref, tensor.perm))


def _is_inf(b: Builder, node: Node, x: Ref) -> Ref:
    high, low = (node.attributes.get(f"detect_{name}", 1) for name in ("positive", "negative"))
    if high and low:
        return compare(b, "equal", b.unary("abs", x), b.scalar(math.inf))
    if high or low:
        return compare(b, "equal", x, b.scalar(math.inf if high else -math.inf))
    return compare(b, "less", b.unary("abs", x), b.scalar(0.0))  # never


def _sign(b: Builder, _node: Node, x: Ref) -> Ref:
    if x.dtype == "int64":  # which TFLite's SIGN does not take
        return b.binary("maximum", b.binary("minimum", x, b.scalar(1, x.dtype)), b.scalar(-1, x.dtype))
    return cast(b, b.unary("sign", widened(b, x)), x.dtype)


def _negated(b: Builder, _node: Node, x: Ref) -> Ref:
    return cast(b, b.unary("neg", widened(b, x)), x.dtype)


def _tan(b: Builder, _node: Node, x: Ref) -> Ref:
    return b.binary("div", b.unary("sin", x), b.unary("cos", x))


def _atan(b: Builder, _node: Node, x: Ref) -> Ref:
    """TFLite has the angle of a point; its operands do not broadcast."""
    ones = b.module.op("fill", [b.module.ints(x.shape), b.scalar(1.0)], "", x.shape, x.dtype)
    return b.module.op("atan2", [x, ones], "", x.shape, x.dtype)


def _leg(b: Builder, x: Ref) -> Ref:
    """Write sqrt((1 - x)(1 + x)): the other leg of a right triangle; NaN outside -1 to 1."""
    return b.unary("sqrt", b.binary("mul", b.binary("sub", b.scalar(1.0), x), b.binary("add", x, b.scalar(1.0))))


def _asin(b: Builder, _node: Node, x: Ref) -> Ref:
    return b.module.op("atan2", [x, _leg(b, x)], "", x.shape, x.dtype)


def _acos(b: Builder, _node: Node, x: Ref) -> Ref:
    return b.module.op("atan2", [_leg(b, x), x], "", x.shape, x.dtype)


def _cosh(b: Builder, _node: Node, x: Ref) -> Ref:
    """Write exp(x - ln 2) + exp(-x - ln 2), which overflows only where the result does."""
    right = b.unary("exp", b.binary("sub", x, b.scalar(_LN2)))
    return b.binary("add", right, b.unary("exp", b.binary("sub", b.scalar(-_LN2), x)))


def _acosh(b: Builder, _node: Node, x: Ref) -> Ref:
    """Write log(x + sqrt(x - 1) sqrt(x + 1)); two roots, because a product under one overflows early."""
    roots = (b.unary("sqrt", b.binary("add", x, b.scalar(one))) for one in (-1.0, 1.0))
    return b.unary("log", b.binary("add", x, b.binary("mul", *roots)))


def _atanh(b: Builder, _node: Node, x: Ref) -> Ref:
    quotient = b.binary("div", b.binary("add", x, b.scalar(1.0)), b.binary("sub", b.scalar(1.0), x))
    return b.binary("mul", b.unary("log", quotient), b.scalar(0.5))


FUNCTIONS: dict[str, Lowering] = {
    "Sqrt": own("sqrt"),
    "Exp": own("exp"),
    "Log": own("log"),
    "Abs": unary(lambda b, _node, x: absolute(b, x)),
    "Neg": unary(_negated),
    "Sign": unary(_sign),
    "Floor": own("floor"),
    "Ceil": own("ceil"),
    "Round": own("round"),
    "Reciprocal": unary(lambda b, _node, x: b.binary("div", b.scalar(1.0), x)),
    "Sin": own("sin"),
    "Cos": own("cos"),
    "Tan": unary(_tan),
    "Asin": unary(_asin),
    "Acos": unary(_acos),
    "Atan": unary(_atan),
    "Sinh": _expanded("sinh"),
    "Cosh": unary(_cosh),
    "Asinh": _expanded("asinh"),
    "Acosh": unary(_acosh),
    "Atanh": unary(_atanh),
    "Erf": _expanded("erf"),  # about 25 ops; in a GELU it is recognised before (`patterns`)
    "IsNaN": unary(lambda b, _node, x: compare(b, "not_equal", x, x)),
    "IsInf": unary(_is_inf),
    "Not": own("logical_not"),
    "Cast": cast_to,
    "CastLike": cast_to,
    "BitCast": bit_cast,
}
