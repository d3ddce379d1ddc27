"""Matrix products, softmax, reductions and normalisations."""

from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.onnx_graph import Node
from edgekit_converters.model import Array


def gemm(b: Builder, node: Node) -> None:
    """Alpha * A B + beta * C with constant B and C."""
    weights, bias = b.constant_of(node, 1), b.constant_of(node, 2)
    alpha, beta = node.attributes.get("alpha", 1.0), node.attributes.get("beta", 1.0)
    if weights is None:
        raise b.refuse(node, "its weights are not given")
    kernel = weights if node.attributes.get("transB", 0) else weights.T  # [out, in]
    x = b.input(node)
    ref = b.plain(Tensor(x.ref, x.perm[::-1]) if node.attributes.get("transA", 0) else x)
    out = b.shape_of(node.outputs[0])
    flat = bias is not None and bias.size == out[1]
    added = (bias.reshape(-1) * np.float32(beta)) if flat and bias is not None else None
    result = dense(b, ref, kernel * np.float32(alpha), added, out)
    if bias is not None and not flat:
        result = b.binary("add", result, b.module.constant(bias * np.float32(beta)))
    b.set(node.outputs[0], Tensor(result, identity(2)))


def dense(b: Builder, x: Ref, kernel: Array, bias: Array | None, shape: Sequence[int]) -> Ref:
    """Write a fully connected layer: x [..., in], kernel [out, in], bias [out]."""
    operands: list[Ref | str] = [x, b.module.constant(np.ascontiguousarray(kernel, dtype=np.float32))]
    operands.append(b.module.constant(bias.astype(np.float32)) if bias is not None else b.module.nothing())
    keep = "true" if len(shape) > 2 else "false"  # noqa: PLR2004
    attributes = f'{NO_ACTIVATION}, keep_num_dims = {keep}, weights_format = "DEFAULT"'
    return b.module.op("fully_connected", operands, attributes, shape, x.dtype)


def matmul(b: Builder, node: Node) -> None:
    """Case 1: a constant matrix on the right. Case 2: both at run time or batched."""
    out = b.shape_of(node.outputs[0])
    x = b.input(node)
    if b.is_constant(node.inputs[1]) and b.graph.constants[node.inputs[1]].ndim == 2 and x.rank >= 2:  # noqa: PLR2004
        weights = b.graph.constants[node.inputs[1]]
        b.set(node.outputs[0], Tensor(dense(b, b.plain(x), weights.T, None, out), identity(len(out))))
        return
    left, right = b.plain(x), b.plain(b.input(node, 1))
    if len(left.shape) < 2 or len(right.shape) < 2:  # noqa: PLR2004
        raise b.refuse(node, "a vector is multiplied")
    ref = b.module.op("batch_matmul", [left, right], "adj_x = false, adj_y = false", out, left.dtype)
    b.set(node.outputs[0], Tensor(ref, identity(len(out))))


def _along_last(op: str, attributes: str) -> Callable[[Builder, Node], None]:
    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        new = b.graph.opset >= 13  # noqa: PLR2004
        axis = node.attributes.get("axis", -1 if new else 1) % x.rank
        if not new and axis != x.rank - 1:
            # up to opset 12 all axes from this one on count as one
            shape = x.shape
            flat = b.reshaped(b.plain(x), (int(np.prod(shape[:axis])), int(np.prod(shape[axis:]))))
            ref = b.reshaped(b.unary(op, flat, attributes), shape)
            b.set(node.outputs[0], Tensor(ref, identity(x.rank)))
            return
        if x.perm[-1] == axis:
            b.set(node.outputs[0], Tensor(b.unary(op, x.ref, attributes), x.perm))
            return
        perm = (*(one for one in x.perm if one != axis), axis)
        b.set(node.outputs[0], Tensor(b.unary(op, b.order(x, perm).ref, attributes), perm))

    return lower


def reduction(op: str) -> Callable[[Builder, Node], None]:
    """Over axes given as an attribute or, later, as an input."""

    def lower(b: Builder, node: Node) -> None:
        x, given = b.input(node), b.constant_of(node, 1)
        axes = [int(a) % x.rank for a in (given if given is not None else node.attributes.get("axes", []))]
        if not axes and node.attributes.get("noop_with_empty_axes", 0):
            b.set(node.outputs[0], x)
            return
        axes = axes or list(range(x.rank))
        ref = reduce(b, op, x.ref, [x.perm.index(axis) for axis in axes])
        if node.attributes.get("keepdims", 1):
            b.set(node.outputs[0], Tensor(ref, x.perm))
            return
        left = [axis for axis in x.perm if axis not in axes]
        place = {axis: number for number, axis in enumerate(sorted(left))}
        ref = b.reshaped(ref, [size for size, axis in zip(ref.shape, x.perm, strict=True) if axis not in axes])
        b.set(node.outputs[0], Tensor(ref, tuple(place[axis] for axis in left)))

    return lower


def reduce(b: Builder, op: str, ref: Ref, axes: Sequence[int]) -> Ref:
    """Write a reduction over stored axes, which stay with size 1."""
    shape = [1 if axis in axes else size for axis, size in enumerate(ref.shape)]
    return b.module.op(op, [ref, b.module.ints(sorted(axes))], "keep_dims = true", shape, ref.dtype)


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


MATRIX = {
    "Gemm": gemm,
    "MatMul": matmul,
    "Softmax": _along_last("softmax", "beta = 1.0 : f32"),
    "LogSoftmax": _along_last("log_softmax", ""),
    "ReduceMean": reduction("mean"),
    "ReduceSum": reduction("sum"),
    "ReduceMax": reduction("reduce_max"),
    "ReduceMin": reduction("reduce_min"),
    "ReduceProd": reduction("reduce_prod"),
    "BatchNormalization": batch_norm,
    "InstanceNormalization": instance_norm,
    "LayerNormalization": layer_norm,
}
