"""A graph made plain for passes over its weights: no functions, weights stored where they are used, norms folded."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.graph.batch_norm import fold_batch_norms
from edgekit_converters.graph.model import ONNX

if TYPE_CHECKING:
    import onnx_ir as ir

# What exporters leave between a stored weight and the layer that uses it.
_FOLDED = frozenset(
    {
        "Add", "Cast", "Concat", "Div", "Flatten", "Identity", "Mul", "Neg", "Reshape", "Slice", "Sqrt", "Squeeze",
        "Sub", "Transpose", "Unsqueeze",
    }
)  # fmt: skip


def make_plain(model: "ir.Model") -> None:
    """Change a model in place; it computes the same."""
    from onnx_ir.passes import common

    common.InlinePass()(model)
    common.RemoveInitializersFromInputsPass()(model)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _fold(model)
    fold_batch_norms(model)
    common.RemoveUnusedNodesPass()(model)


def _fold(model: "ir.Model") -> None:
    """Compute what depends on stored tensors alone."""
    import onnx_ir as ir
    from onnx.reference import ReferenceEvaluator

    for node in list(model.graph):
        given = [one for one in node.inputs if one is not None]
        if node.domain not in ONNX or node.op_type not in _FOLDED or node.outputs[0].is_graph_output():
            continue
        if not given or any(one.const_value is None for one in given):
            continue
        feeds = {one.name: np.asarray(one.const_value.numpy()) for one in given}  # type: ignore[union-attr]
        opset = model.graph.opset_imports.get("", 1)
        (made,) = ReferenceEvaluator(ir.serde.serialize_node(node), opsets={"": opset}).run(None, feeds)
        value = node.outputs[0]
        stored = ir.Value(
            name=value.name,
            shape=ir.Shape(np.shape(made)),
            type=value.type,
            const_value=ir.tensor(np.asarray(made), name=value.name),
        )
        value.replace_all_uses_with(stored)
        model.graph.remove(node, safe=True)
        model.graph.register_initializer(stored)
