"""Activations: TFLite's own where it has them, else written out."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgekit_converters.lowering.activation_formulas import (
    elu,
    hard_sigmoid,
    leaky_relu,
    softplus,
    softsign,
    thresholded_relu,
)
from edgekit_converters.lowering.arithmetic import binary, compare, select, single
from edgekit_converters.lowering.builder import Builder, Tensor, identity
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
    tensor, bounds = b.input(node), [_bound(b, node, place) for place in (1, 2)]
    low, high = (
        limit if bound is None else bound.value for bound, limit in zip(bounds, (-math.inf, math.inf), strict=True)
    )
    if tensor.dtype == "float32" and (low, high) in _RANGES:
        b.set(node.outputs[0], Tensor(b.unary(_RANGES[low, high], tensor.ref), tensor.perm))
        return
    result = tensor.ref
    for op, bound in zip(("maximum", "minimum"), bounds, strict=True):
        if bound is not None:
            result = binary(b, op, result, bound.ref)
    b.set(node.outputs[0], Tensor(result, tensor.perm))


_RANGES: Mapping[tuple[float | None, float | None], str] = MappingProxyType(
    {(0.0, math.inf): "relu", (0.0, 6.0): "relu6", (-1.0, 1.0): "relu_n1_to_1", (0.0, 1.0): "relu_0_to_1"}
)


@dataclass(frozen=True, slots=True)
class _Bound:
    """A bound of a Clip; `value` is None where it is known at run time only."""

    ref: Ref
    value: float | None


def _bound(b: Builder, node: Node, place: int) -> _Bound | None:
    """Return a bound, None where it bounds nothing: exporters write the lowest float for "none"."""
    dtype = b.input(node).dtype
    if len(node.inputs) > place and node.inputs[place]:
        name = node.inputs[place]
        if not b.is_constant(name):
            return _Bound(single(b, b.tensor(name).ref), None)
        value = b.graph.constants[name].item()
    else:
        value = node.attributes.get(("", "min", "max")[place])
    if value is None or (dtype == "float32" and (value <= _LOWEST, value >= _HIGHEST)[place - 1]):
        return None
    return _Bound(b.scalar(value, dtype), value)


def prelu(b: Builder, node: Node) -> None:
    """Case 1: one slope. Case 2: TFLite's, whose slope has the input's shape without the batch. Case 3: any other."""
    tensor, slope = b.input(node), b.graph.constants.get(node.inputs[1])
    if slope is not None and slope.size == 1 and tensor.dtype == "float32":
        ref = leaky_relu(b, tensor.ref, float(slope.ravel()[0]))
        b.set(node.outputs[0], Tensor(ref, tensor.perm))
        return
    if slope is not None and tensor.rank > 1 and slope.ndim <= tensor.rank and tensor.dtype == "float32":
        aligned = slope.reshape((1,) * (tensor.rank - slope.ndim) + slope.shape).transpose(tensor.perm)
        if aligned.shape[0] == 1:
            operands = [tensor.ref, b.module.constant(aligned[0])]
            ref = b.module.op("prelu", operands, "", tensor.ref.shape, tensor.dtype)
            b.set(node.outputs[0], Tensor(ref, tensor.perm))
            return
    (x, factor), perm = b.operands(node)
    above = compare(b, "greater_equal", x, b.scalar(0, x.dtype))
    b.set(node.outputs[0], Tensor(select(b, above, x, binary(b, "mul", x, factor)), perm))


def _selu(b: Builder, node: Node, x: Ref) -> Ref:
    alpha, gamma = node.attributes.get("alpha", _SELU[0]), node.attributes.get("gamma", _SELU[1])
    return elu(b, x, alpha, gamma)


def _celu(b: Builder, node: Node, x: Ref) -> Ref:
    alpha = node.attributes.get("alpha", 1.0)
    return elu(b, x, alpha, divisor=alpha)


def _gelu(b: Builder, node: Node, x: Ref) -> Ref:
    approximate = "true" if node.attributes.get("approximate", "none") == "tanh" else "false"
    return b.unary("gelu", x, f"approximate = {approximate}")


def _shrink(b: Builder, node: Node, x: Ref) -> Ref:
    """Move values outside -lambda to lambda towards zero by the bias; the others become zero."""
    limit, bias = node.attributes.get("lambd", 0.5), b.scalar(node.attributes.get("bias", 0.0), x.dtype)
    below = compare(b, "less", x, b.scalar(-limit, x.dtype))
    above = compare(b, "greater", x, b.scalar(limit, x.dtype))
    inner = select(b, above, binary(b, "sub", x, bias), b.scalar(0, x.dtype))
    return select(b, below, binary(b, "add", x, bias), inner)


def _mish(b: Builder, _node: Node, x: Ref) -> Ref:
    """Write x n / (n + 2), n = e(e + 2), e = exp(x).

    That is x tanh(log(1 + e)) without the logarithm, which loses all digits of a small e. Above 20 the
    fraction is 1 in float32, and a larger e would overflow.
    """
    e = b.unary("exp", b.binary("minimum", x, b.scalar(20.0)))
    n = b.binary("mul", e, b.binary("add", e, b.scalar(2.0)))
    return b.binary("mul", x, b.binary("div", n, b.binary("add", n, b.scalar(2.0))))


def _swish(b: Builder, node: Node, x: Ref) -> Ref:
    alpha = node.attributes.get("alpha", 1.0)
    gate = x if alpha == 1.0 else b.binary("mul", x, b.scalar(alpha))
    return b.binary("mul", x, b.unary("logistic", gate))


def hardmax(b: Builder, node: Node) -> None:
    """One at the first highest value along an axis; up to opset 12 along all axes from that one on."""
    x = b.input(node)
    old = b.graph.opset < 13  # noqa: PLR2004
    axis = node.attributes.get("axis", 1 if old else -1) % x.rank
    if old and axis != x.rank - 1:
        flat = b.reshaped(b.plain(x), (math.prod(x.shape[:axis]), math.prod(x.shape[axis:])))
        b.set(node.outputs[0], Tensor(b.reshaped(_one_hot(b, flat, 1), x.shape), identity(x.rank)))
        return
    b.set(node.outputs[0], Tensor(_one_hot(b, x.ref, x.stored_axis(axis)), x.perm))


def _one_hot(b: Builder, ref: Ref, axis: int) -> Ref:
    left = [size for place, size in enumerate(ref.shape) if place != axis]
    first = b.module.op("arg_max", [ref, b.module.ints([axis])], "", left, "int32")
    depth = single(b, b.module.ints([ref.shape[axis]]))
    operands = [first, depth, b.scalar(1, ref.dtype), b.scalar(0, ref.dtype)]
    return b.module.op("one_hot", operands, f"axis = {axis} : i32", ref.shape, ref.dtype)


ACTIVATIONS: dict[str, Lowering] = {
    "Relu": own("relu"),
    "LeakyRelu": unary(lambda b, node, x: leaky_relu(b, x, node.attributes.get("alpha", 0.01))),
    "PRelu": prelu,
    "ThresholdedRelu": unary(lambda b, node, x: thresholded_relu(b, x, node.attributes.get("alpha", 1.0))),
    "Elu": unary(lambda b, node, x: elu(b, x, node.attributes.get("alpha", 1.0))),
    "Selu": unary(_selu),
    "Celu": unary(_celu),
    "Sigmoid": own("logistic"),
    "Tanh": own("tanh"),
    "HardSigmoid": unary(
        lambda b, node, x: hard_sigmoid(b, x, node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5))
    ),
    "HardSwish": own("hard_swish"),
    "Swish": unary(_swish),
    "Clip": clip,
    "Softplus": unary(lambda b, _node, x: softplus(b, x)),
    "Softsign": unary(lambda b, _node, x: softsign(b, x)),
    "Mish": unary(_mish),
    "Shrink": unary(_shrink),
    "Hardmax": hardmax,
    "Gelu": unary(_gelu),
}
