"""ONNX to TFLite without TensorFlow: through StableHLO and the TFL dialect, for convolutional and dense nets."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.lowering.activations import ACTIVATIONS
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.convolution import CONVOLUTION
from edgekit_converters.lowering.elementwise import ELEMENTWISE
from edgekit_converters.lowering.graph import Graph, Node
from edgekit_converters.lowering.matrix import MATRIX
from edgekit_converters.lowering.module import DTYPES, CompilerRefusal, compile_to_tflite, location_of
from edgekit_converters.lowering.normalisation import NORMALISATION
from edgekit_converters.lowering.patterns import with_activations
from edgekit_converters.lowering.pooling import POOLING
from edgekit_converters.lowering.recurrent import RECURRENT
from edgekit_converters.lowering.reductions import REDUCTIONS
from edgekit_converters.lowering.reshaping import RESHAPING
from edgekit_converters.lowering.resizing import RESIZING
from edgekit_converters.lowering.shape import SHAPE

OPS: Mapping[str, Callable[[Builder, Node], None]] = MappingProxyType(
    {
        **CONVOLUTION,
        **POOLING,
        **RESIZING,
        **ACTIVATIONS,
        **ELEMENTWISE,
        **MATRIX,
        **NORMALISATION,
        **REDUCTIONS,
        **SHAPE,
        **RESHAPING,
        **RECURRENT,
    }
)
_DOMAINS = frozenset({"", "ai.onnx"})
_ELSEWHERE = "try --to openvino"


def lower(graph: Graph) -> bytes:
    """Return the graph as a TFLite file, with the source's names, order and layout in a signature `serving_default`.

    Raises:
        UnsupportedError: naming op and node; notes name every other op that is not there.
    """
    _check_ops(graph)
    _check_dtypes(graph)
    graph = with_activations(graph)
    builder = Builder(graph)
    try:
        for node in graph.nodes:
            builder.module.location = node.outputs[0]
            OPS[node.op](builder, node)
        builder.module.location = "output"
        results = [builder.plain(builder.tensor(name)) for name in graph.outputs]
        return compile_to_tflite(builder.module, results, graph.inputs, graph.outputs)
    except CompilerRefusal as exc:
        raise _blamed(graph, exc) from exc
    except UnsupportedError as exc:
        exc.add_note(_ELSEWHERE)
        raise


def _check_ops(graph: Graph) -> None:
    missing = [node for node in graph.nodes if node.op not in OPS or node.domain not in _DOMAINS]
    if not missing:
        return
    error = UnsupportedError(f"model '{graph.label}': {missing[0]} has no TFLite lowering")
    others = sorted({node.op for node in missing[1:]} - {missing[0].op})
    if others:
        error.add_note(f"neither have: {', '.join(others)}")
    error.add_note(_ELSEWHERE)
    raise error


def _check_dtypes(graph: Graph) -> None:
    names = [*graph.inputs, *(name for node in graph.nodes for name in (*node.inputs, *node.outputs))]
    for name in names:
        value = graph.values.get(name)
        if value is not None and value.dtype not in DTYPES:
            what = "input" if name in graph.inputs else "value"
            error = UnsupportedError(
                f"model '{graph.label}': {what} '{name}' has dtype {value.dtype}, which has no TFLite lowering"
            )
            error.add_note(_ELSEWHERE)
            raise error


def _blamed(graph: Graph, refusal: CompilerRefusal) -> UnsupportedError:
    """Name the node whose op the compiler did not take."""
    nodes = {location_of(name): node for node in graph.nodes for name in node.outputs}
    node = nodes.get(refusal.location or "")
    what = f"{node} has no TFLite lowering: the compiler says: " if node else "the TFLite compiler refuses the graph: "
    error = UnsupportedError(f"model '{graph.label}': {what}{refusal.reason}")
    error.add_note(_ELSEWHERE)
    return error
