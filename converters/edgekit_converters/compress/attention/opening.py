"""ONNX's op Attention written out as the products, mask and softmax it stands for, so that it can be changed."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.attention.writing import Writer
from edgekit_converters.compress.figures import infer_shapes
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.reading import name_of

if TYPE_CHECKING:
    import onnx_ir as ir

_RANKS = (3, 4)


def open_attention(model: "ir.Model") -> None:
    """Write out every Attention that has neither a past nor a soft cap nor shared keys, in place; others stay.

    Args:
        model: with inferred shapes; they are inferred anew where something was written.
    """
    opened = [node for node in list(model.graph) if node.domain in ONNX and node.op_type == "Attention"]
    done = [_opened(model, node) for node in opened]
    if any(done):
        infer_shapes(model)


def _opened(model: "ir.Model", node: "ir.Node") -> bool:
    query, key, value = node.inputs[:3]
    mask = node.inputs[3] if len(node.inputs) > 3 else None  # noqa: PLR2004  # queries, keys, values, mask
    heads = _heads(node)
    if query is None or key is None or value is None or heads is None or query.dtype is None:
        return False
    writer = Writer(model, node, name_of(node))
    width = int(query.shape[-1]) // (heads if len(query.shape) == 3 else 1)  # type: ignore[arg-type, index]  # noqa: PLR2004  # `_heads` looked at it
    flat = len(query.shape) == 3  # type: ignore[arg-type]  # noqa: PLR2004
    dtype = query.dtype.numpy()
    q, k, v = (_by_head(writer, one, heads) if flat else one for one in (query, key, value))
    scale = node.attributes.get_float("scale", None) or width**-0.5
    scores = writer.op("MatMul", q, writer.op("Transpose", k, attributes={"perm": [0, 1, 3, 2]}))
    scores = writer.op("Mul", scores, writer.stored(np.array(scale, dtype)))
    lowest = writer.stored(np.array(np.finfo(dtype).min, dtype))
    if node.attributes.get_int("is_causal", 0):
        queries, keys = (int(one.shape[-2]) for one in (query, key))  # type: ignore[arg-type, index]  # `_heads` looked
        scores = writer.op("Where", writer.stored(np.tri(queries, keys, dtype=bool)), scores, lowest)
    if mask is not None:
        bits = mask.dtype is not None and not mask.dtype.is_floating_point()
        scores = writer.op("Where", mask, scores, lowest) if bits else writer.op("Add", scores, mask)
    made = writer.op("MatMul", writer.op("Softmax", scores, attributes={"axis": -1}), v)
    if flat:
        turned = writer.op("Transpose", made, attributes={"perm": [0, 2, 1, 3]})
        made = writer.op("Reshape", turned, writer.ints(0, 0, heads * _width(value, heads)))
    old = node.outputs[0]
    old.replace_all_uses_with(made, replace_graph_outputs=True)
    name, made.shape, made.type = old.name, old.shape, old.type
    old.name = f"{name}/opened"
    made.name = name
    model.graph.remove(node, safe=True)
    return True


def _width(value: "ir.Value", heads: int) -> int:
    return int(value.shape[-1]) // heads  # type: ignore[arg-type, index]  # `_heads` looked at it


def _heads(node: "ir.Node") -> int | None:
    """Return how many heads an Attention has; None where it does more than can be written out."""
    given = node.inputs[:3]
    if any(one is None or one.shape is None or len(one.shape) not in _RANKS for one in given):
        return None
    if any(not isinstance(one.shape[-1], int) for one in given):  # type: ignore[union-attr, index]
        return None
    past = any(one is not None for one in node.inputs[4:]) or any(one.uses() for one in node.outputs[1:])
    if past or node.attributes.get_float("softcap", 0.0) or len({len(one.shape) for one in given}) > 1:  # type: ignore[union-attr, arg-type]
        return None
    lengths = [one.shape[-2] for one in given[:2]]  # type: ignore[union-attr, index]
    if node.attributes.get_int("is_causal", 0) and not all(isinstance(one, int) for one in lengths):
        return None
    if len(given[0].shape) == _RANKS[1]:  # type: ignore[union-attr, arg-type]
        counts = {one.shape[1] for one in given}  # type: ignore[union-attr, index]
        (count, *more) = counts
        return count if isinstance(count, int) and not more else None
    heads = node.attributes.get_int("q_num_heads", 0)
    return heads if heads and heads == node.attributes.get_int("kv_num_heads", 0) else None


def _by_head(writer: Writer, value: "ir.Value", heads: int) -> "ir.Value":
    apart = writer.op("Reshape", value, writer.ints(0, 0, heads, _width(value, heads)))
    return writer.op("Transpose", apart, attributes={"perm": [0, 2, 1, 3]})
