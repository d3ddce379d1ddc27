"""Dense layers and matrix products."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reshaping import RESHAPING

Floats = NDArray[np.float32]


def gemm(b: Builder, node: Node) -> None:
    """Alpha * A B + beta * C with constant B and C."""
    weights, bias = b.constant_of(node, 1), b.constant_of(node, 2)
    if weights is None:
        raise b.refuse(node, "its weights are not given")
    alpha, beta = (np.float32(node.attributes.get(name, 1.0)) for name in ("alpha", "beta"))
    kernel = (weights if node.attributes.get("transB", 0) else weights.T).astype(np.float32) * alpha  # [out, in]
    if node.attributes.get("transA", 0):
        x = b.input(node)
        ref = b.plain(Tensor(x.ref, x.perm[::-1]))
    else:
        ref, kernel = _flat(b, node.inputs[0], kernel)
    out = b.shape_of(node.outputs[0])
    added = None if bias is None else bias.astype(np.float32) * beta
    inside = added is not None and added.size == out[1] and (added.ndim == 0 or added.shape[-1] == out[1])
    result = dense(b, ref, kernel, added.reshape(-1) if added is not None and inside else None, out)
    if added is not None and not inside:
        result = b.binary("add", result, b.module.constant(added))
    b.set(node.outputs[0], Tensor(result, identity(2)))


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


def dense(b: Builder, x: Ref, kernel: Floats, bias: Floats | None, shape: Sequence[int]) -> Ref:
    """Write a fully connected layer: x [..., in], kernel [out, in], bias [out]."""
    operands: list[Ref | str] = [x, b.module.constant(np.ascontiguousarray(kernel, dtype=np.float32))]
    operands.append(b.module.constant(bias.astype(np.float32)) if bias is not None else b.module.nothing())
    keep = "true" if len(shape) > 2 else "false"  # noqa: PLR2004
    attributes = f'{NO_ACTIVATION}, keep_num_dims = {keep}, weights_format = "DEFAULT"'
    return b.module.op("fully_connected", operands, attributes, shape, x.dtype)


def matmul(b: Builder, node: Node) -> None:
    """Case 1: a constant matrix on the right. Case 2: both at run time, or batched; a vector becomes a matrix."""
    out = b.shape_of(node.outputs[0])
    left, right = b.shape_of(node.inputs[0]), b.shape_of(node.inputs[1])
    grown = (*out[: len(out) - (len(left) > 1) - (len(right) > 1)], *left[-2:-1], *((1,) if len(left) == 1 else ()))
    grown += right[-1:] if len(right) > 1 else (1,)
    weights = b.graph.constants.get(node.inputs[1])
    if weights is not None and weights.ndim <= 2 and len(left) > 1:  # noqa: PLR2004
        ref, kernel = _flat(b, node.inputs[0], weights.reshape(left[-1], -1).T.astype(np.float32))
        result = dense(b, ref, kernel, None, grown)
    else:
        one = b.plain(b.tensor(node.inputs[0])) if len(left) > 1 else b.reshaped(b.input(node).ref, (1, *left))
        two = b.plain(b.tensor(node.inputs[1])) if len(right) > 1 else b.reshaped(b.input(node, 1).ref, (*right, 1))
        result = b.module.op("batch_matmul", [one, two], "adj_x = false, adj_y = false", grown, one.dtype)
    b.set(node.outputs[0], Tensor(b.reshaped(result, out), identity(len(out))))


MATRIX = {"Gemm": gemm, "MatMul": matmul}
