"""Softmax and normalisations."""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor, channels_last, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reductions import reduce
from edgekit_converters.model import Array


def _along_last(op: str, attributes: str) -> Callable[[Builder, Node], None]:
    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        new = b.graph.opset >= 13  # noqa: PLR2004
        axis = node.attributes.get("axis", -1 if new else 1) % x.rank
        if not new and axis != x.rank - 1:
            # up to opset 12 all axes from this one on count as one
            shape = x.shape
            flat = b.reshaped(b.plain(x), (math.prod(shape[:axis]), math.prod(shape[axis:])))
            ref = b.reshaped(b.unary(op, flat, attributes), shape)
            b.set(node.outputs[0], Tensor(ref, identity(x.rank)))
            return
        if x.perm[-1] == axis:
            b.set(node.outputs[0], Tensor(_of_rows(b, op, x.ref, attributes), x.perm))
            return
        perm = (*(one for one in x.perm if one != axis), axis)
        b.set(node.outputs[0], Tensor(_of_rows(b, op, b.order(x, perm).ref, attributes), perm))

    return lower


def _of_rows(b: Builder, op: str, ref: Ref, attributes: str) -> Ref:
    """Apply an op along the last axis; TFLite's take up to four axes."""
    if len(ref.shape) <= 4:  # noqa: PLR2004
        return b.unary(op, ref, attributes)
    flat = b.reshaped(ref, (math.prod(ref.shape[:-1]), ref.shape[-1]))
    return b.reshaped(b.unary(op, flat, attributes), ref.shape)


def batch_norm(b: Builder, node: Node) -> None:
    """A factor and an offset a channel, which the compiler folds into a convolution before it."""
    x = b.input(node)
    scale, offset, mean, variance = (b.constant_of(node, place) for place in range(1, 5))
    if scale is None or offset is None or mean is None or variance is None or node.attributes.get("training_mode", 0):
        raise b.refuse(node, "it is in training mode")
    factor = scale.astype(np.float64) / np.sqrt(variance.astype(np.float64) + node.attributes.get("epsilon", 1e-5))
    added = offset - mean * factor
    b.set(node.outputs[0], Tensor(_affine(b, x, x.ref, factor, added), x.perm))


def _affine(b: Builder, like: Tensor, ref: Ref, factor: Array, added: Array | None) -> Ref:
    """Multiply and add numbers a channel (ONNX axis 1)."""

    def channel(values: Array) -> Ref:
        grown = values.astype(np.float32).reshape((-1, *([1] * (like.rank - 2))))
        return b.aligned_constant(grown, like.rank, like.perm)

    ref = b.binary("mul", ref, channel(factor))
    return ref if added is None else b.binary("add", ref, channel(added))


def _normalised(b: Builder, ref: Ref, axes: Sequence[int], epsilon: float) -> Ref:
    mean = reduce(b, "mean", ref, axes)
    variance = reduce(b, "mean", b.binary("squared_difference", ref, mean), axes)
    inverse = b.unary("rsqrt", b.binary("add", variance, b.scalar(epsilon)))
    return b.binary("mul", b.binary("sub", ref, mean), inverse)


def instance_norm(b: Builder, node: Node) -> None:
    """Over the spatial axes of each channel."""
    x, scale, offset = b.input(node), b.constant_of(node, 1), b.constant_of(node, 2)
    if scale is None or offset is None:
        raise b.refuse(node, "its scale is not given")
    axes = [x.perm.index(axis) for axis in range(2, x.rank)]
    normal = _normalised(b, x.ref, axes, node.attributes.get("epsilon", 1e-5))
    b.set(node.outputs[0], Tensor(_affine(b, x, normal, scale, offset), x.perm))


def layer_norm(b: Builder, node: Node) -> None:
    """Over all axes from `axis` on."""
    x, scale, offset = b.input(node), b.constant_of(node, 1), b.constant_of(node, 2)
    if any(name in b.graph.uses for name in node.outputs[1:]):
        raise b.refuse(node, "its mean or deviation is used")
    first = node.attributes.get("axis", -1) % x.rank
    axes = [x.perm.index(axis) for axis in range(first, x.rank)]
    ref = _normalised(b, x.ref, axes, node.attributes.get("epsilon", 1e-5))
    for op, values in (("mul", scale), ("add", offset)):
        if values is not None:
            ref = b.binary(op, ref, b.aligned_constant(values, x.rank, x.perm))
    b.set(node.outputs[0], Tensor(ref, x.perm))


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


NORMALISATION = {
    "Softmax": _along_last("softmax", "beta = 1.0 : f32"),
    "LogSoftmax": _along_last("log_softmax", ""),
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
    "LRN": local_response_norm,
}
