"""Activations: TFLite's own where it has them, else written out."""

import math
from collections.abc import Callable

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

Lowering = Callable[[Builder, Node], None]
_SELU = (1.67326319217681884765625, 1.05070102214813232421875)  # alpha and gamma as ONNX has them
_LOWEST, _HIGHEST = float(np.finfo(np.float32).min), float(np.finfo(np.float32).max)


def unary(write: Callable[[Builder, Node, Ref], Ref]) -> Lowering:
    """Return a lowering of one input to one output of the same shape, in whatever order it is stored."""

    def lower(b: Builder, node: Node) -> None:
        tensor = b.input(node)
        b.set(node.outputs[0], Tensor(write(b, node, tensor.ref), tensor.perm))

    return lower


def own(op: str, attributes: str = "") -> Lowering:
    """Return a lowering to TFLite's op of this name."""
    return unary(lambda b, _node, x: b.unary(op, x, attributes))


def clip(b: Builder, node: Node) -> None:
    """ONNX: first max(low), then min(high); up to opset 10 they are attributes."""
    low, high = b.constant_of(node, 1), b.constant_of(node, 2)
    bounds = (
        float(low) if low is not None else node.attributes.get("min", -math.inf),
        float(high) if high is not None else node.attributes.get("max", math.inf),
    )
    tensor = b.input(node)
    names = {(0.0, math.inf): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (0.0, 1.0): "relu_0_to_1"}
    if tensor.dtype == "float32" and bounds in names:
        b.set(node.outputs[0], Tensor(b.unary(names[bounds], tensor.ref), tensor.perm))
        return
    result = tensor.ref
    if bounds[0] > _LOWEST:  # exporters write the lowest float for "none"
        result = b.binary("maximum", result, b.scalar(bounds[0], tensor.dtype))
    if bounds[1] < _HIGHEST:
        result = b.binary("minimum", result, b.scalar(bounds[1], tensor.dtype))
    b.set(node.outputs[0], Tensor(result, tensor.perm))


def prelu(b: Builder, node: Node) -> None:
    """One slope, or one a channel or value; TFLite's slope has the input's shape without the batch."""
    tensor, slope = b.input(node), b.constant_of(node, 1)
    if slope is None:
        raise b.refuse(node, "it has no slope")
    if slope.size == 1:
        attributes = f"alpha = {float(slope.ravel()[0]):.9e} : f32"
        b.set(node.outputs[0], Tensor(b.unary("leaky_relu", tensor.ref, attributes), tensor.perm))
        return
    aligned = slope.reshape((1,) * (tensor.rank - slope.ndim) + slope.shape).transpose(tensor.perm)
    if aligned.shape[0] != 1:
        raise b.refuse(node, "it has a slope for each sample")
    operands = [tensor.ref, b.module.constant(aligned[0])]
    b.set(node.outputs[0], Tensor(b.module.op("prelu", operands, "", tensor.ref.shape, tensor.dtype), tensor.perm))


def _leaky(b: Builder, node: Node, x: Ref) -> Ref:
    return b.unary("leaky_relu", x, f"alpha = {node.attributes.get('alpha', 0.01):.9e} : f32")


def _elu(b: Builder, x: Ref, alpha: float, gamma: float = 1.0, divisor: float = 1.0) -> Ref:
    """Write gamma * (max(0, x) + alpha * elu(min(0, x) / divisor)); TFLite's ELU has an alpha of 1."""
    if (alpha, gamma, divisor) == (1.0, 1.0, 1.0):
        return b.unary("elu", x)
    below = b.binary("minimum", x, b.scalar(0.0))
    if divisor != 1.0:
        below = b.binary("mul", below, b.scalar(1.0 / divisor))
    below = b.binary("mul", b.unary("elu", below), b.scalar(alpha * gamma))
    above = b.unary("relu", x)
    if gamma != 1.0:
        above = b.binary("mul", above, b.scalar(gamma))
    return b.binary("add", above, below)


def _selu(b: Builder, node: Node, x: Ref) -> Ref:
    alpha, gamma = node.attributes.get("alpha", _SELU[0]), node.attributes.get("gamma", _SELU[1])
    return _elu(b, x, alpha, gamma)


def _celu(b: Builder, node: Node, x: Ref) -> Ref:
    alpha = node.attributes.get("alpha", 1.0)
    return _elu(b, x, alpha, divisor=alpha)


def _hard_sigmoid(b: Builder, node: Node, x: Ref) -> Ref:
    alpha, beta = node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return b.unary("relu_0_to_1", b.binary("add", b.binary("mul", x, b.scalar(alpha)), b.scalar(beta)))


def _softplus(b: Builder, x: Ref) -> Ref:
    """Write max(x, 0) + log(1 + exp(-|x|)), which does not overflow."""
    small = b.unary("log", b.binary("add", b.unary("exp", b.unary("neg", b.unary("abs", x))), b.scalar(1.0)))
    return b.binary("add", b.unary("relu", x), small)


def _gelu(b: Builder, node: Node, x: Ref) -> Ref:
    approximate = "true" if node.attributes.get("approximate", "none") == "tanh" else "false"
    return b.unary("gelu", x, f"approximate = {approximate}")


def _erf(b: Builder, _node: Node, x: Ref) -> Ref:
    """TFLite has none: about 25 ops come out. In a GELU it is recognised before (`patterns`)."""
    return b.module.raw(f"chlo.erf {x.name} : {x.type} -> {{out}}", x.shape, x.dtype)


def _thresholded(b: Builder, node: Node, x: Ref) -> Ref:
    over = b.module.op("greater", [x, b.scalar(node.attributes.get("alpha", 1.0))], "", x.shape, "bool")
    return b.module.op("select_v2", [over, x, b.scalar(0.0)], "", x.shape, x.dtype)


ACTIVATIONS: dict[str, Lowering] = {
    "Relu": own("relu"),
    "LeakyRelu": unary(_leaky),
    "PRelu": prelu,
    "ThresholdedRelu": unary(_thresholded),
    "Elu": unary(lambda b, node, x: _elu(b, x, node.attributes.get("alpha", 1.0))),
    "Selu": unary(_selu),
    "Celu": unary(_celu),
    "Sigmoid": own("logistic"),
    "Tanh": own("tanh"),
    "HardSigmoid": unary(_hard_sigmoid),
    "HardSwish": own("hard_swish"),
    "Swish": unary(lambda b, _node, x: b.binary("mul", x, b.unary("logistic", x))),
    "Clip": clip,
    "Softplus": unary(lambda b, _node, x: _softplus(b, x)),
    "Softsign": unary(lambda b, _node, x: b.binary("div", x, b.binary("add", b.unary("abs", x), b.scalar(1.0)))),
    "Mish": unary(lambda b, _node, x: b.binary("mul", x, b.unary("tanh", _softplus(b, x)))),
    "Gelu": unary(_gelu),
    "Erf": unary(_erf),
}
