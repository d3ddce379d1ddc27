"""A graph made plain for passes over its weights: no functions, weights stored where they are used, norms folded."""

from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.frontends.names import unique
from edgekit_converters.graph.batch_norm import fold_batch_norms
from edgekit_converters.graph.model import ONNX
from edgekit_converters.graph.oracle import session
from edgekit_converters.graph.weights import is_constant
from edgekit_converters.model import Array

if TYPE_CHECKING:
    import onnx_ir as ir

# What exporters leave between a stored weight and the layer that uses it.
_FOLDED = frozenset(
    {
        "Add", "Cast", "Concat", "Div", "Flatten", "Identity", "Mul", "Neg", "Reshape", "Slice", "Sqrt", "Squeeze",
        "Sub", "Transpose", "Unsqueeze",
    }
)  # fmt: skip

_WEIGHTS_APART = 4
"""The version of ONNX's file format from which on weights are no inputs."""


def make_plain(model: "ir.Model") -> None:
    """Change a model in place; it computes the same. No two nodes keep one name: layers are told apart by it."""
    from onnx_ir.passes import common

    common.InlinePass()(model)
    common.RemoveInitializersFromInputsPass()(model)
    model.ir_version = max(model.ir_version, _WEIGHTS_APART)
    common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
    _fold(model)
    fold_batch_norms(model)
    common.RemoveUnusedNodesPass()(model)
    named = [node for node in model.graph.all_nodes() if node.name]
    for node, name in zip(named, unique([str(node.name) for node in named]), strict=True):
        node.name = name


def _fold(model: "ir.Model") -> None:
    """Compute what depends on stored tensors alone, floats among them."""
    for node in list(model.graph):
        if node.domain not in ONNX or node.op_type not in _FOLDED or node.outputs[0].is_graph_output():
            continue
        given = [one for one in node.inputs if one is not None]
        if all(one.const_value is not None for one in given) and any(map(is_constant, given)):
            made = _computed(model, node)
            if made is not None:
                _replace(model, node, made)


def _computed(model: "ir.Model", node: "ir.Node") -> Array | None:
    """Run a node by itself; None where ONNX Runtime does not have it for the type."""
    import onnx_ir as ir

    inputs = [
        None if one is None else ir.Value(name=f"i{at}", shape=one.shape, type=ir.TensorType(one.const_value.dtype))  # type: ignore[union-attr]  # it is stored
        for at, one in enumerate(node.inputs)
    ]
    alone = ir.node(node.op_type, inputs, dict(node.attributes))
    alone.outputs[0].name = "made"
    graph = ir.Graph(
        [one for one in inputs if one is not None],
        alone.outputs,
        nodes=[alone],
        opset_imports=model.graph.opset_imports,
    )
    proto = ir.serde.serialize_model(ir.Model(graph, ir_version=model.ir_version))
    feeds = {f"i{at}": np.asarray(one.const_value.numpy()) for at, one in enumerate(node.inputs) if one is not None}  # type: ignore[union-attr]
    try:
        (made,) = session(proto).run(None, feeds)
    except Exception:  # noqa: BLE001  # its exceptions have no common base; the node stays as it is
        return None
    return np.asarray(made)


def _replace(model: "ir.Model", node: "ir.Node", made: Array) -> None:
    import onnx_ir as ir

    value = node.outputs[0]
    tensor = ir.tensor(made, name=value.name)
    stored = ir.Value(name=value.name, shape=ir.Shape(made.shape), type=ir.TensorType(tensor.dtype), const_value=tensor)
    value.replace_all_uses_with(stored)
    model.graph.remove(node, safe=True)
    model.graph.register_initializer(stored)
