"""ONNX to TFLite without TensorFlow: through StableHLO and the TFL dialect, for convolutional and dense nets."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.convolution import CONVOLUTION
from edgekit_converters.lowering.elementwise import ELEMENTWISE
from edgekit_converters.lowering.matrix import MATRIX
from edgekit_converters.lowering.module import compile_to_tflite
from edgekit_converters.lowering.onnx_graph import Graph, Node
from edgekit_converters.lowering.pooling import POOLING
from edgekit_converters.lowering.resizing import RESIZING
from edgekit_converters.lowering.shape import SHAPE

OPS: Mapping[str, Callable[[Builder, Node], None]] = MappingProxyType(
    {**CONVOLUTION, **POOLING, **RESIZING, **ELEMENTWISE, **MATRIX, **SHAPE}
)
_DOMAINS = frozenset({"", "ai.onnx"})


def lower(graph: Graph) -> bytes:
    """Return the graph as a TFLite file, with the source's names, order and layout in a signature `serving_default`.

    Raises:
        UnsupportedError: naming op and node; notes name every other op that is not there.
    """
    missing = [node for node in graph.nodes if node.op not in OPS or node.domain not in _DOMAINS]
    if missing:
        error = UnsupportedError(f"model '{graph.label}': {missing[0]} has no TFLite lowering")
        others = sorted({node.op for node in missing[1:]} - {missing[0].op})
        if others:
            error.add_note(f"neither have: {', '.join(others)}")
        error.add_note("try --to openvino")
        raise error
    builder = Builder(graph)
    for node in graph.nodes:
        builder.module.location = node.outputs[0]
        OPS[node.op](builder, node)
    builder.module.location = "output"
    results = [builder.plain(builder.tensor(name)) for name in graph.outputs]
    return compile_to_tflite(builder.module, results, graph.inputs, graph.outputs)
