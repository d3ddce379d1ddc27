"""QuantizeLinear and DequantizeLinear as arithmetic.

TFLite's own QUANTIZE rounds halves away from zero, ONNX to the even neighbour: written as DIV, ROUND, clip and CAST
the result is ONNX's, bit by bit. What an integer kernel would save is the quantizer's business, not the lowering's.
"""

import numpy as np

from edgekit_converters.lowering.builder import Builder, Perm, Tensor, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref

_RANGES = {"int8": (-128, 127), "uint8": (0, 255)}


def quantize(b: Builder, node: Node) -> None:
    """Per tensor and per axis, to int8 and uint8; scale and zero point may come at run time."""
    x, dtype = b.input(node), b.graph.values[node.outputs[0]].dtype
    if dtype not in _RANGES:
        raise b.refuse(node, f"its output has dtype {dtype}")
    low, high = (float(one) for one in _RANGES[dtype])
    steps = b.unary("round", b.binary("div", _as_float(b, x.ref), _parameter(b, node, 1, x.perm)))
    if _has_zero_point(b, node):
        steps = b.binary("add", steps, _parameter(b, node, 2, x.perm))
    cut = b.binary("minimum", b.binary("maximum", steps, b.scalar(low)), b.scalar(high))
    b.set(node.outputs[0], Tensor(b.module.op("cast", [cut], "", cut.shape, dtype), x.perm))


def dequantize(b: Builder, node: Node) -> None:
    """Per tensor and per axis; a weight that is constant is folded long before."""
    x = b.input(node)
    value = _as_float(b, x.ref)
    if _has_zero_point(b, node):
        value = b.binary("sub", value, _parameter(b, node, 2, x.perm))
    b.set(node.outputs[0], Tensor(b.binary("mul", value, _parameter(b, node, 1, x.perm)), x.perm))


def _has_zero_point(b: Builder, node: Node) -> bool:
    name = node.inputs[2] if len(node.inputs) > 2 else ""  # noqa: PLR2004
    return bool(name) and not (b.is_constant(name) and not np.any(b.graph.constants[name]))


def _parameter(b: Builder, node: Node, place: int, perm: Perm) -> Ref:
    """Return scale or zero point as float32, one number or along its axis in the stored order."""
    name, rank = node.inputs[place], len(perm)
    shape = b.shape_of(name)
    if node.attributes.get("block_size", 0) or len(shape) > 1:
        raise b.refuse(node, "it has a scale for each block")
    axis = node.attributes.get("axis", 1) % rank if rank else 0
    wide = [shape[0] if one == axis else 1 for one in range(rank)] if shape and shape[0] != 1 else []
    if b.is_constant(name):
        array = b.graph.constants[name].astype(np.float32).reshape(wide)
        return b.aligned_constant(array, rank, perm)
    ref = b.reshaped(_as_float(b, b.plain(b.tensor(name))), wide)
    return b.order(Tensor(ref, identity(rank)), perm).ref if wide else ref


def _as_float(b: Builder, ref: Ref) -> Ref:
    return ref if ref.dtype == "float32" else b.module.op("cast", [ref], "", ref.shape, "float32")


LINEAR_QUANTIZATION = {"QuantizeLinear": quantize, "DequantizeLinear": dequantize}
