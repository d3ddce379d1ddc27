"""ONNX to TFLite without TensorFlow: through StableHLO and the TFL dialect."""

from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.lowering.activations import ACTIVATIONS
from edgekit_converters.lowering.bitwise import BITWISE
from edgekit_converters.lowering.blocks import BLOCKS
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.columns import COLUMNS
from edgekit_converters.lowering.convolution import CONVOLUTION
from edgekit_converters.lowering.deformed import DEFORMED
from edgekit_converters.lowering.determinant import DETERMINANT
from edgekit_converters.lowering.einsum import EINSUM
from edgekit_converters.lowering.elementwise import ELEMENTWISE
from edgekit_converters.lowering.functions import FUNCTIONS
from edgekit_converters.lowering.gathering import GATHERING
from edgekit_converters.lowering.generators import GENERATORS
from edgekit_converters.lowering.graph import Graph, Node, Refusal, RefusedError
from edgekit_converters.lowering.integers import INTEGERS
from edgekit_converters.lowering.linear_quantization import LINEAR_QUANTIZATION
from edgekit_converters.lowering.matrix import MATRIX
from edgekit_converters.lowering.module import DTYPES, CompilerRefusal, compile_to_tflite, location_of
from edgekit_converters.lowering.ngrams import NGRAMS
from edgekit_converters.lowering.normalisation import NORMALISATION
from edgekit_converters.lowering.padding import PADDING
from edgekit_converters.lowering.patterns import with_activations
from edgekit_converters.lowering.pooling import POOLING
from edgekit_converters.lowering.randomness import RANDOMNESS
from edgekit_converters.lowering.recurrent import RECURRENT
from edgekit_converters.lowering.reductions import REDUCTIONS
from edgekit_converters.lowering.regions import REGIONS
from edgekit_converters.lowering.reshaping import RESHAPING
from edgekit_converters.lowering.resizing import RESIZING
from edgekit_converters.lowering.sampling import SAMPLING
from edgekit_converters.lowering.scattering import SCATTERING
from edgekit_converters.lowering.selecting import SELECTING
from edgekit_converters.lowering.shape import SHAPE
from edgekit_converters.lowering.slicing import SLICING
from edgekit_converters.lowering.softmax import SOFTMAX
from edgekit_converters.lowering.sorting import SORTING
from edgekit_converters.lowering.spectrum import SPECTRUM

OPS: Mapping[str, Callable[[Builder, Node], None]] = MappingProxyType(
    {
        **CONVOLUTION,
        **POOLING,
        **RESIZING,
        **SAMPLING,
        **REGIONS,
        **DEFORMED,
        **COLUMNS,
        **NGRAMS,
        **ACTIVATIONS,
        **ELEMENTWISE,
        **FUNCTIONS,
        **GENERATORS,
        **SORTING,
        **RANDOMNESS,
        **SPECTRUM,
        **MATRIX,
        **INTEGERS,
        **BITWISE,
        **EINSUM,
        **DETERMINANT,
        **NORMALISATION,
        **SOFTMAX,
        **REDUCTIONS,
        **SHAPE,
        **SLICING,
        **PADDING,
        **GATHERING,
        **SCATTERING,
        **SELECTING,
        **BLOCKS,
        **LINEAR_QUANTIZATION,
        **RESHAPING,
        **RECURRENT,
    }
)
_DOMAINS = frozenset({"", "ai.onnx"})
_MOST_COMPILES = 16


def lower(graph: Graph, *, channels_last: bool = False) -> tuple[bytes, list[str]]:
    """Return the graph as a TFLite file, and notes: what did not get the form it could have had, and why.

    The file has the source's names and order in a signature `serving_default`.

    Its inputs and outputs lie as the source's do, or (those of rank 4 and 5) with their channels last.

    Raises:
        RefusedError: with every node that has no lowering, in the graph's order.
    """
    graph, near_misses = with_activations(graph)
    refused = _inputs_refused(graph)
    for _ in range(_MOST_COMPILES):
        builder = Builder(graph, channels_last=channels_last)
        _write(builder, refused)
        builder.module.location = "output"
        results = [builder.result(name) for name in graph.outputs]
        inputs = [*graph.inputs, *builder.stand_ins]
        try:
            data = compile_to_tflite(builder.module, results, inputs, graph.outputs)
        except CompilerRefusal as exc:
            node = _node_at(graph, exc.location)
            if node is None or node.index in refused:
                refused.setdefault(-1, Refusal(node=None, why=f"the TFLite compiler refuses the graph: {exc.reason}"))
                break
            refused[node.index] = Refusal(node=node, why=f"the compiler says: {exc.reason}")
            continue
        if not refused:
            return data, [*near_misses, *builder.notes]
        break
    raise RefusedError([refused[index] for index in sorted(refused)])


def _inputs_refused(graph: Graph) -> dict[int, Refusal]:
    found = [(name, graph.values[name].dtype) for name in graph.inputs if graph.values[name].dtype not in DTYPES]
    whys = [f"input '{name}' has dtype {dtype}, which has no TFLite lowering" for name, dtype in found]
    return {-2 - place: Refusal(node=None, why=why) for place, why in enumerate(whys)}


def _write(builder: Builder, refused: dict[int, Refusal]) -> None:
    """Write every node; behind one that is refused its outputs stand as inputs, so that the others are seen too."""
    for node in builder.graph.nodes:
        builder.module.location = next(name for name in node.outputs if name)
        if node.index not in refused:
            try:
                _lower_node(builder, node)
                continue
            except UnsupportedError as exc:
                refused[node.index] = Refusal(node=node, why=str(exc))
        for name in node.outputs:
            if name in builder.graph.values:
                builder.stand_in(name)


def _lower_node(builder: Builder, node: Node) -> None:
    first = next(name for name in node.outputs if name)
    if first in builder.graph.stuck or node.op not in OPS or node.domain not in _DOMAINS:
        raise UnsupportedError(builder.graph.stuck.get(first, ""))
    for name in filter(None, node.inputs):
        if name not in builder.graph.values:
            raise UnsupportedError(f"its input '{name}' is no tensor")
    for name in (*node.inputs, *node.outputs):
        value = builder.graph.values.get(name)
        if value is not None and value.dtype not in DTYPES:
            raise UnsupportedError(f"value '{name}' has dtype {value.dtype}")
    OPS[node.op](builder, node)


def _node_at(graph: Graph, location: str | None) -> Node | None:
    """Return the node whose op the compiler did not take."""
    nodes = {location_of(name): node for node in graph.nodes for name in node.outputs}
    return nodes.get(location or "")
