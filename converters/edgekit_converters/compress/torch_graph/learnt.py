"""Which stored tensors of a graph are learnt: weights and biases of layers, factors and shifts of norms."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.weights import is_constant

if TYPE_CHECKING:
    import onnx_ir as ir

# Operator -> places of what is learnt among its inputs.
_PLACES: Mapping[str, frozenset[int]] = MappingProxyType(
    {
        "Conv": frozenset({1, 2}), "ConvTranspose": frozenset({1, 2}), "Gemm": frozenset({0, 1, 2}),
        "MatMul": frozenset({0, 1}), "Einsum": frozenset({0, 1}), "PRelu": frozenset({1}),
        "BatchNormalization": frozenset({1, 2}), "InstanceNormalization": frozenset({1, 2}),
        "GroupNormalization": frozenset({1, 2}), "LayerNormalization": frozenset({1, 2}),
        "RMSNormalization": frozenset({1}), "LSTM": frozenset({1, 2, 3, 7}), "GRU": frozenset({1, 2, 3}),
        "RNN": frozenset({1, 2, 3}),
    }
)  # fmt: skip
_VECTORS = frozenset({"Add", "Mul"})
"""Of these vectors are learnt: a bias, a norm's factor. Numbers are a formula's, and matrices masks or positions."""
_MATRIX = 2  # dimensions


def learnt(model: "ir.Model", may_change: Callable[["ir.Node"], bool]) -> dict[str, list["ir.Node"]]:
    """Return the names of learnt tensors with the nodes they belong to; those whose every user may be changed."""
    found: dict[str, list[ir.Node]] = {}
    for name, value in model.graph.initializers.items():
        uses = tuple(value.uses())
        if not is_constant(value) or value.is_graph_output() or not uses:
            continue
        if all(_is_learnt(value, use.node, use.idx) and may_change(use.node) for use in uses):
            found[name] = list(dict.fromkeys(use.node for use in uses))
    return found


def _is_learnt(value: "ir.Value", node: "ir.Node", place: int) -> bool:
    if node.domain not in ONNX or value.const_value is None:
        return False
    sizes = value.const_value.shape.numpy()
    if node.op_type in _VECTORS:
        return sum(size > 1 for size in sizes) == 1
    if node.op_type == "Gather":  # a table of rows; other lists are numbers
        return place == 0 and len(sizes) == _MATRIX and node.attributes.get_int("axis", 0) == 0
    return place in _PLACES.get(node.op_type, ())
