"""Normalisations by mean and variance, and by lengths."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.arithmetic import absolute
from edgekit_converters.lowering.builder import Builder, Tensor, channels_last, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reductions import reduce
from edgekit_converters.model import Array

_EPSILON = 1e-5
_TINY = float(np.finfo(np.float32).tiny)
_GROUPS_SHARE_SCALE = 20  # GroupNormalization up to this opset has a scale a group, then one a channel


def batch_norm(b: Builder, node: Node) -> None:
    """A factor and an offset a channel, which the compiler folds into a convolution before it."""
    x = b.input(node)
    if node.attributes.get("training_mode", 0) or any(name in b.graph.uses for name in node.outputs[1:]):
        raise b.refuse(node, "it is in training mode")
    epsilon, names = node.attributes.get("epsilon", _EPSILON), node.inputs[1:5]
    if all(map(b.is_constant, names)):
        scale, offset, mean, variance = (b.graph.constants[name].astype(np.float64) for name in names)
        factor = scale / np.sqrt(variance + epsilon)
        made: list[Array | Ref] = [factor.astype(np.float32), (offset - mean * factor).astype(np.float32)]
    else:
        refs = [b.tensor(name).ref for name in names]
        each = b.binary("mul", refs[0], _inverse_root(b, refs[3], epsilon))
        made = [each, b.binary("sub", refs[1], b.binary("mul", refs[2], each))]
    x = _combined(b, "mul", x, _by_channel(b, x, made[0]))
    b.set(node.outputs[0], _combined(b, "add", x, _by_channel(b, x, made[1])))


def _given(b: Builder, name: str) -> Array | Ref:
    return b.graph.constants[name] if b.is_constant(name) else b.plain(b.tensor(name))


def _by_channel(b: Builder, x: Tensor, values: Array | Ref) -> Array | Tensor:
    """Return a number a channel so that it broadcasts along ONNX axis 1."""
    shape = (-1, *([1] * (x.rank - 2)))
    if isinstance(values, Ref):
        return Tensor(b.reshaped(values, (values.shape[0], *shape[1:])), identity(x.rank - 1))
    return values.reshape(shape)


def _combined(b: Builder, op: str, x: Tensor, other: Array | Tensor) -> Tensor:
    """Write an op with broadcasting; a constant is turned around beforehand."""
    if isinstance(other, Tensor):
        (left, right), perm = b.together([x, other])
        return Tensor(b.binary(op, left, right), perm)
    return Tensor(b.binary(op, x.ref, b.aligned_constant(other.astype(np.float32), x.rank, x.perm)), x.perm)


def _inverse_root(b: Builder, variance: Ref, epsilon: float) -> Ref:
    return b.unary("rsqrt", b.binary("add", variance, b.scalar(epsilon)))


@dataclass(frozen=True, slots=True)
class _Spread:
    """Values less their mean, the mean, and one over their standard deviation."""

    centred: Ref
    mean: Ref
    inverse: Ref


def _spread(b: Builder, ref: Ref, axes: Sequence[int], epsilon: float) -> _Spread:
    """Take the mean off before squaring: the short forms lose digits where the mean is large."""
    mean = reduce(b, "mean", ref, axes)
    centred = b.binary("sub", ref, mean)
    variance = reduce(b, "mean", b.binary("mul", centred, centred), axes)
    return _Spread(centred, mean, _inverse_root(b, variance, epsilon))


def instance_norm(b: Builder, node: Node) -> None:
    """Over the spatial axes of each channel."""
    x = b.input(node)
    found = _spread(
        b, x.ref, [x.perm.index(axis) for axis in range(2, x.rank)], node.attributes.get("epsilon", _EPSILON)
    )
    # one number a channel of each image: small, so the scale goes in here
    factor = _combined(b, "mul", Tensor(found.inverse, x.perm), _by_channel(b, x, _given(b, node.inputs[1])))
    y = _combined(b, "mul", Tensor(found.centred, x.perm), factor)
    b.set(node.outputs[0], _combined(b, "add", y, _by_channel(b, x, _given(b, node.inputs[2]))))


def group_norm(b: Builder, node: Node) -> None:
    """Over the spatial axes and channels of each group, in the order they are stored in."""
    x, groups = b.input(node), node.attributes["num_groups"]
    each = x.shape[1] // groups
    if x.perm == channels_last(x.rank):
        places = math.prod(x.ref.shape[1:-1])
        rows, axes = b.reshaped(x.ref, (x.shape[0], places, groups, each)), [1, 3]
    else:
        x = Tensor(b.plain(x), identity(x.rank))
        rows, axes = b.reshaped(x.ref, (x.shape[0], groups, each * math.prod(x.shape[2:]))), [2]
    found = _spread(b, rows, axes, node.attributes.get("epsilon", _EPSILON))
    y = Tensor(b.reshaped(b.binary("mul", found.centred, found.inverse), x.ref.shape), x.perm)
    for op, name in zip(("mul", "add"), node.inputs[1:], strict=True):
        values = _given(b, name)
        if b.graph.opset <= _GROUPS_SHARE_SCALE:
            values = _repeated(b, values, each)
        y = _combined(b, op, y, _by_channel(b, x, values))
    b.set(node.outputs[0], y)


def _repeated(b: Builder, values: Array | Ref, times: int) -> Array | Ref:
    """Return a number a group as numbers a channel."""
    if not isinstance(values, Ref):
        return values.repeat(times)
    shape = (values.shape[0], times)
    column = b.reshaped(values, (values.shape[0], 1))
    wide = b.module.op("broadcast_to", [column, b.module.ints(list(shape))], "", shape, values.dtype)
    return b.reshaped(wide, (shape[0] * times,))


def _behind(b: Builder, node: Node) -> tuple[Tensor, list[int]]:
    """Return the input, and where its axes from `axis` on are stored."""
    x = b.input(node)
    return x, [x.perm.index(axis) for axis in range(node.attributes.get("axis", -1) % x.rank, x.rank)]


def _scaled(b: Builder, node: Node, x: Tensor) -> Tensor:
    for op, name in zip(("mul", "add"), node.inputs[1:], strict=False):
        if name:
            x = _combined(b, op, x, b.graph.constants[name] if b.is_constant(name) else b.tensor(name))
    return x


def layer_norm(b: Builder, node: Node) -> None:
    """Over all axes from `axis` on."""
    x, axes = _behind(b, node)
    found = _spread(b, x.ref, axes, node.attributes.get("epsilon", _EPSILON))
    normal = b.binary("mul", found.centred, found.inverse)
    b.set(node.outputs[0], _scaled(b, node, Tensor(normal, x.perm)))
    for name, ref in zip(node.outputs[1:], (found.mean, found.inverse), strict=False):
        if name in b.graph.uses:
            b.set(name, Tensor(ref, x.perm))


def rms_norm(b: Builder, node: Node) -> None:
    """By the root of the mean square over all axes from `axis` on."""
    x, axes = _behind(b, node)
    square = reduce(b, "mean", b.binary("mul", x.ref, x.ref), axes)
    normal = b.binary("mul", x.ref, _inverse_root(b, square, node.attributes.get("epsilon", _EPSILON)))
    b.set(node.outputs[0], _scaled(b, node, Tensor(normal, x.perm)))


def mean_variance_norm(b: Builder, node: Node) -> None:
    """To mean 0 and variance 1; the definition adds 1e-9 to the deviation."""
    x = b.input(node)
    axes = [x.perm.index(axis % x.rank) for axis in node.attributes.get("axes", [0, 2, 3])]
    centred = b.binary("sub", x.ref, reduce(b, "mean", x.ref, axes))
    deviation = b.unary("sqrt", reduce(b, "mean", b.binary("mul", centred, centred), axes))
    y = b.binary("div", centred, b.binary("add", deviation, b.scalar(1e-9)))
    b.set(node.outputs[0], Tensor(y, x.perm))


def lp_norm(b: Builder, node: Node) -> None:
    """By the sum of absolute values or the root of squares; where all are 0 they stay 0."""
    x = b.input(node)
    axes = [x.perm.index(node.attributes.get("axis", -1) % x.rank)]
    if node.attributes.get("p", 2) == 1:
        length = reduce(b, "sum", absolute(b, x.ref), axes)
    else:
        length = b.unary("sqrt", reduce(b, "sum", b.binary("mul", x.ref, x.ref), axes))
    y = b.binary("div", x.ref, b.binary("maximum", length, b.scalar(_TINY)))
    b.set(node.outputs[0], Tensor(y, x.perm))


def local_response_norm(b: Builder, node: Node) -> None:
    """Over neighbouring channels; ONNX divides alpha by their number, TFLite does not."""
    x, size = b.input(node), node.attributes["size"]
    if x.rank != 4 or size % 2 == 0:  # noqa: PLR2004
        raise b.refuse(node, "only an odd number of channels of an image is there")
    alpha, beta = node.attributes.get("alpha", 1e-4), node.attributes.get("beta", 0.75)
    attributes = (
        f"radius = {size // 2} : i32, bias = {node.attributes.get('bias', 1.0):.9e} : f32, "
        f"alpha = {alpha / size:.9e} : f32, beta = {beta:.9e} : f32"
    )
    ref = b.unary("local_response_normalization", b.spatial(x), attributes)
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


NORMALISATION: dict[str, Callable[[Builder, Node], None]] = {
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "GroupNormalization": group_norm,
    "LayerNormalization": layer_norm,
    "RMSNormalization": rms_norm,
    "MeanVarianceNormalization": mean_variance_norm,
    "LpNormalization": lp_norm,
    "LRN": local_response_norm,
}
