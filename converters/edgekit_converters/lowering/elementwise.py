"""Elementwise ops and activations."""

import math
from collections.abc import Callable

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.onnx_graph import Node

Lowering = Callable[[Builder, Node], None]


def _unary(write: Callable[[Builder, Node, Ref], Ref]) -> Lowering:
    def lower(b: Builder, node: Node) -> None:
        tensor = b.input(node)
        b.set(node.outputs[0], Tensor(write(b, node, tensor.ref), tensor.perm))

    return lower


def _plain(op: str, attributes: str = "") -> Lowering:
    return _unary(lambda b, _node, x: b.unary(op, x, attributes))


def _binary(op: str) -> Lowering:
    def lower(b: Builder, node: Node) -> None:
        refs, perm = b.operands(node)
        result = refs[0]
        for other in refs[1:]:
            result = b.binary(op, result, other)
        _finish(b, node, result, perm)

    return lower


def _finish(b: Builder, node: Node, result: Ref, perm: tuple[int, ...]) -> None:
    """Name a result whose operands were all single numbers with its full shape."""
    shape = b.shape_of(node.outputs[0])
    stored = [shape[axis] for axis in perm]
    b.set(node.outputs[0], Tensor(b.reshaped(result, stored) if result.shape != tuple(stored) else result, perm))


def _compare(op: str) -> Lowering:
    def lower(b: Builder, node: Node) -> None:
        (left, right), perm = b.operands(node)
        shape = np.broadcast_shapes(left.shape, right.shape)
        _finish(b, node, b.module.op(op, [left, right], "", shape, "bool"), perm)

    return lower


def clip(b: Builder, node: Node) -> None:
    """ONNX: first max(low), then min(high); opset 6 has them as attributes."""
    tensor = b.input(node)
    low, high = b.constant_of(node, 1), b.constant_of(node, 2)
    bounds = (
        float(low) if low is not None else node.attributes.get("min", -math.inf),
        float(high) if high is not None else node.attributes.get("max", math.inf),
    )
    names = {(0.0, math.inf): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (0.0, 1.0): "relu_0_to_1"}
    if tensor.dtype == "float32" and bounds in names:
        b.set(node.outputs[0], Tensor(b.unary(names[bounds], tensor.ref), tensor.perm))
        return
    result = tensor.ref
    if bounds[0] > -math.inf and bounds[0] > -3.4e38:  # noqa: PLR2004  # exporters write the lowest float for "none"
        result = b.binary("maximum", result, b.scalar(bounds[0], tensor.dtype))
    if bounds[1] < math.inf and bounds[1] < 3.4e38:  # noqa: PLR2004
        result = b.binary("minimum", result, b.scalar(bounds[1], tensor.dtype))
    b.set(node.outputs[0], Tensor(result, tensor.perm))


def hard_sigmoid(b: Builder, node: Node) -> None:
    """max(0, min(1, alpha * x + beta))."""
    tensor = b.input(node)
    b.set(node.outputs[0], Tensor(_hard_sigmoid(b, node, tensor.ref), tensor.perm))


def _hard_sigmoid(b: Builder, node: Node, x: Ref) -> Ref:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return b.unary("relu_0_to_1", b.binary("add", b.binary("mul", x, b.scalar(alpha)), b.scalar(beta)))


def _softplus(b: Builder, x: Ref) -> Ref:
    """max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = b.unary("log", b.binary("add", b.unary("exp", b.unary("neg", b.unary("abs", x))), b.scalar(1.0)))
    return b.binary("add", b.unary("relu", x), small)


def prelu(b: Builder, node: Node) -> None:
    """One slope, or one a channel."""
    tensor, slope = b.input(node), b.constant_of(node, 1)
    if slope is None:
        raise b.refuse(node, "it has no slope")
    rank = tensor.rank
    aligned = slope.reshape((1,) * (rank - slope.ndim) + slope.shape).transpose(tensor.perm)
    if slope.size == 1:
        attributes = f"alpha = {float(slope.ravel()[0]):.9e} : f32"
        b.set(node.outputs[0], Tensor(b.unary("leaky_relu", tensor.ref, attributes), tensor.perm))
        return
    # TFLite's slope has the input's shape without the batch
    shape = (*(size if size != 1 else 1 for size in aligned.shape[1:]),)
    alpha = b.module.constant(aligned.reshape(shape))
    b.set(
        node.outputs[0], Tensor(b.module.op("prelu", [tensor.ref, alpha], "", tensor.ref.shape, "float32"), tensor.perm)
    )


def gelu(b: Builder, node: Node) -> None:
    """Exact or with tanh."""
    approximate = "true" if node.attributes.get("approximate", "none") == "tanh" else "false"
    tensor = b.input(node)
    b.set(node.outputs[0], Tensor(b.unary("gelu", tensor.ref, f"approximate = {approximate}"), tensor.perm))


def erf(b: Builder, node: Node) -> None:
    """TFLite has none; the compiler expands it."""
    tensor = b.input(node)
    x = tensor.ref
    ref = b.module.raw(f"chlo.erf {x.name} : {x.type} -> {{out}}", x.shape, x.dtype)
    b.set(node.outputs[0], Tensor(ref, tensor.perm))


def cast(b: Builder, node: Node) -> None:
    """Between float32, int32, int64, bool and small integers."""
    tensor = b.input(node)
    dtype = b.graph.values[node.outputs[0]].dtype
    if dtype == tensor.dtype:
        b.set(node.outputs[0], tensor)
        return
    ref = b.module.op("cast", [tensor.ref], "", tensor.ref.shape, dtype)
    b.set(node.outputs[0], Tensor(ref, tensor.perm))


def where(b: Builder, node: Node) -> None:
    """select_v2 broadcasts."""
    (condition, left, right), perm = b.operands(node)
    shape = np.broadcast_shapes(condition.shape, left.shape, right.shape)
    _finish(b, node, b.module.op("select_v2", [condition, left, right], "", shape, left.dtype), perm)


def multiply(b: Builder, node: Node) -> None:
    """X * HardSigmoid(x) with slope 1/6 is hard-swish; everything else is a product."""
    inner = b.hard_sigmoids.get(node.inputs[0]), b.hard_sigmoids.get(node.inputs[1])
    for place, of in enumerate(inner):
        if of is not None and of == node.inputs[1 - place]:
            tensor = b.tensor(of)
            b.set(node.outputs[0], Tensor(b.unary("hard_swish", tensor.ref), tensor.perm))
            return
    _binary("mul")(b, node)


def remember_hard_sigmoid(b: Builder, node: Node) -> None:
    """Lower a HardSigmoid, and remember it when a product may make a hard-swish of it."""
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    if math.isclose(alpha, 1 / 6, rel_tol=1e-5) and beta == 0.5:  # noqa: PLR2004
        b.hard_sigmoids[node.outputs[0]] = node.inputs[0]
    hard_sigmoid(b, node)


def _leaky(b: Builder, node: Node, x: Ref) -> Ref:
    return b.unary("leaky_relu", x, f"alpha = {node.attributes.get('alpha', 0.01):.9e} : f32")


def _elu(b: Builder, node: Node, x: Ref) -> Ref:
    alpha = node.attributes.get("alpha", 1.0)
    if alpha != 1.0:
        raise b.refuse(node, f"alpha is {alpha}, and TFLite's is 1")
    return b.unary("elu", x)


ELEMENTWISE: dict[str, Lowering] = {
    "Add": _binary("add"),
    "Sub": _binary("sub"),
    "Mul": multiply,
    "Div": _binary("div"),
    "Pow": _binary("pow"),
    "Min": _binary("minimum"),
    "Max": _binary("maximum"),
    "Sum": _binary("add"),
    "Relu": _plain("relu"),
    "LeakyRelu": _unary(_leaky),
    "PRelu": prelu,
    "Elu": _unary(_elu),
    "Sigmoid": _plain("logistic"),
    "Tanh": _plain("tanh"),
    "HardSigmoid": remember_hard_sigmoid,
    "HardSwish": _plain("hard_swish"),
    "Clip": clip,
    "Softplus": _unary(lambda b, _node, x: _softplus(b, x)),
    "Mish": _unary(lambda b, _node, x: b.binary("mul", x, b.unary("tanh", _softplus(b, x)))),
    "Gelu": gelu,
    "Erf": erf,
    "Sqrt": _plain("sqrt"),
    "Exp": _plain("exp"),
    "Log": _plain("log"),
    "Abs": _plain("abs"),
    "Neg": _plain("neg"),
    "Floor": _plain("floor"),
    "Ceil": _plain("ceil"),
    "Sin": _plain("sin"),
    "Cos": _plain("cos"),
    "Not": _plain("logical_not"),
    "Reciprocal": _unary(lambda b, _node, x: b.binary("div", b.scalar(1.0), x)),
    "Equal": _compare("equal"),
    "Greater": _compare("greater"),
    "GreaterOrEqual": _compare("greater_equal"),
    "Less": _compare("less"),
    "LessOrEqual": _compare("less_equal"),
    "And": _compare("logical_and"),
    "Or": _compare("logical_or"),
    "Cast": cast,
    "Where": where,
}
