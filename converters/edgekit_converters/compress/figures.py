"""How large a model is before anything runs: parameters, multiplications, bytes, nodes."""

from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_converters.graph import model as graph_model
from edgekit_converters.layers import onnx as onnx_layers

if TYPE_CHECKING:
    import onnx_ir as ir


def static_figures(model: "ir.Model", file: Path) -> dict[str, int]:
    """Return `parameters`, `macs` of one sample, `bytes` of the file with its external data, and `nodes`."""
    return {
        "parameters": graph_model.parameters(model),
        "macs": sum(macs_of(model).values()),
        "bytes": graph_model.fingerprint(file, model)["size_bytes"],
        "nodes": sum(1 for _ in model.graph.all_nodes()),
    }


def macs_of(model: "ir.Model") -> dict[str, int]:
    """Return the multiplications of one sample by the names of the nodes; free dimensions count as 1."""
    single = model.clone()
    shapes = {
        str(one.name): tuple(size or 1 for size in graph_model.dimensions(one)) for one in graph_model.inputs_of(single)
    }
    graph_model.freeze(single, shapes, "model")
    forget_shapes(single)
    view = onnx_layers.view(graph_model.lifted(single)[0])
    return {node.name: node.macs for node in view.nodes if node.macs}


def infer_shapes(model: "ir.Model") -> None:
    """Fill in the shapes and dtypes of all values, in place, forgetting what was there."""
    from onnx_ir.passes import common

    forget_shapes(model)
    common.ShapeInferencePass(data_prop=True)(model)


def forget_shapes(model: "ir.Model") -> None:
    """Take away the shapes of what nodes compute: a technique may have changed them."""
    for node in model.graph.all_nodes():
        for value in node.outputs:
            if not value.is_graph_output():
                value.shape = None
