"""Dense layers and matrix products."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reshaping import RESHAPING
from edgekit_converters.model import Array

Floats = NDArray[np.float32]
_MOST_AXES = 4  # of BATCH_MATMUL on every runtime


def gemm(b: Builder, node: Node) -> None:
    """Alpha * A B + beta * C. Case 1: constant B and C are a dense layer. Case 2: anything else."""
    _only_floats(b, node)
    weights = b.graph.constants.get(node.inputs[1])
    added = node.inputs[2] if len(node.inputs) > 2 else ""  # noqa: PLR2004
    beta = node.attributes.get("beta", 1.0)
    out = b.shape_of(node.outputs[0])
    bias = _bias(b, added, beta, out)
    if weights is None:
        result = _product(b, node, out)
        if bias is not None:
            result = b.binary("add", result, b.module.constant(bias))
    else:
        result = _dense_gemm(b, node, weights, bias)
    if added and bias is None:
        result = b.binary("add", result, _scaled(b, added, beta))
    b.set(node.outputs[0], Tensor(result, identity(2)))


def _scaled(b: Builder, name: str, factor: float) -> Ref:
    if b.is_constant(name):
        return b.module.constant(b.graph.constants[name].astype(np.float32) * np.float32(factor))
    ref = b.plain(b.tensor(name))
    return ref if factor == 1.0 else b.binary("mul", ref, b.scalar(factor))


def _bias(b: Builder, name: str, beta: float, out: Sequence[int]) -> Floats | None:
    """Return a constant C times beta that is one row, None for any other."""
    array = b.graph.constants.get(name)
    if array is None or array.dtype != np.float32 or is_free(out[1]) or array.size not in {1, out[1]}:
        return None
    if array.ndim and array.shape[-1] != array.size:
        return None
    row: Floats = np.broadcast_to(array.reshape(-1), (out[1],)).astype(np.float32) * np.float32(beta)
    return row


def _product(b: Builder, node: Node, out: Sequence[int]) -> Ref:
    """Write alpha * A B of two matrices of run time."""
    turned = (bool(node.attributes.get("transA", 0)), bool(node.attributes.get("transB", 0)))
    left, right = (b.plain(b.tensor(name)) for name in node.inputs[:2])
    result = batched(b, left, right, out, turned=turned)
    alpha = node.attributes.get("alpha", 1.0)
    return result if alpha == 1.0 else b.binary("mul", result, b.scalar(alpha))


def _dense_gemm(b: Builder, node: Node, weights: Array, bias: Floats | None) -> Ref:
    turned = weights if node.attributes.get("transB", 0) else weights.T
    kernel = turned.astype(np.float32) * np.float32(node.attributes.get("alpha", 1.0))  # [out, in]
    if node.attributes.get("transA", 0):
        x = b.input(node)
        ref = b.plain(Tensor(x.ref, x.perm[::-1]))
    else:
        ref, kernel = _flat(b, node.inputs[0], kernel)
    return dense(b, ref, _written(b, kernel), None if bias is None else _written(b, bias))


def _flat(b: Builder, name: str, kernel: Floats) -> tuple[Ref, Floats]:
    """Return a matrix and its kernel; of an image that was only flattened, the kernel is turned around instead."""
    node = b.graph.producers.get(name)
    while node is not None and node.op in {"Identity", "Dropout"}:
        node = b.graph.producers.get(node.inputs[0])
    if node is not None and node.op in RESHAPING and not b.is_constant(node.inputs[0]):
        x = b.input(node)
        if x.perm != identity(x.rank) and x.perm[0] == 0 and (x.shape[0], kernel.shape[1]) == b.shape_of(name):
            places = np.arange(kernel.shape[1]).reshape(x.shape[1:]).transpose([axis - 1 for axis in x.perm[1:]])
            return b.reshaped(x.ref, (x.shape[0], kernel.shape[1])), kernel[:, places.ravel()]
    return b.plain(b.tensor(name)), kernel


def dense(b: Builder, x: Ref, kernel: Ref, bias: Ref | None = None) -> Ref:
    """Write a fully connected layer: x [..., in], kernel [out, in], bias [out]; known beforehand or not."""
    shape = (*x.shape[:-1], kernel.shape[0])
    keep = "true" if len(shape) > 2 else "false"  # noqa: PLR2004
    attributes = f'{NO_ACTIVATION}, keep_num_dims = {keep}, weights_format = "DEFAULT"'
    return b.module.op("fully_connected", [x, kernel, bias or b.module.nothing()], attributes, shape, x.dtype)


def _written(b: Builder, array: Array) -> Ref:
    return b.module.constant(np.ascontiguousarray(array, dtype=np.float32))


def matmul(b: Builder, node: Node) -> None:
    """Case 1: a constant matrix on the right. Case 2: both at run time, or batched; a vector becomes a matrix."""
    _only_floats(b, node)
    out = b.shape_of(node.outputs[0])
    left, right = b.shape_of(node.inputs[0]), b.shape_of(node.inputs[1])
    grown = (*out[: len(out) - (len(left) > 1) - (len(right) > 1)], *left[-2:-1], *((1,) if len(left) == 1 else ()))
    grown += right[-1:] if len(right) > 1 else (1,)
    weights = b.graph.constants.get(node.inputs[1])
    if weights is not None and weights.ndim <= 2 and len(left) > 1:  # noqa: PLR2004
        ref, kernel = _flat(b, node.inputs[0], weights.reshape(left[-1], -1).T.astype(np.float32))
        result = dense(b, ref, _written(b, kernel))
    else:
        one = b.plain(b.tensor(node.inputs[0])) if len(left) > 1 else b.reshaped(b.input(node).ref, (1, *left))
        two = b.plain(b.tensor(node.inputs[1])) if len(right) > 1 else b.reshaped(b.input(node, 1).ref, (*right, 1))
        result = batched(b, one, two, grown)
    b.set(node.outputs[0], Tensor(b.reshaped(result, out), identity(len(out))))


def batched(
    b: Builder, left: Ref, right: Ref, shape: Sequence[int], *, turned: tuple[bool, bool] = (False, False)
) -> Ref:
    """Write a product of matrices in the last two axes, each turned around before if asked for; batches broadcast."""
    attributes = ", ".join(f"adj_{side} = {str(one).lower()}" for side, one in zip("xy", turned, strict=True))
    if len(shape) <= _MOST_AXES or left.shape[:-2] != right.shape[:-2]:
        return b.module.op("batch_matmul", [left, right], attributes, shape, left.dtype)
    count = math.prod(shape[:-2])
    flat = [b.reshaped(one, (count, *one.shape[-2:])) for one in (left, right)]
    return b.reshaped(b.module.op("batch_matmul", flat, attributes, (count, *shape[-2:]), left.dtype), shape)


def _only_floats(b: Builder, node: Node) -> None:
    dtype = b.graph.values[node.inputs[0]].dtype
    if dtype != "float32":
        raise b.refuse(node, f"TFLite has no product of matrices of {dtype}")


MATRIX = {"Gemm": gemm, "MatMul": matmul}
