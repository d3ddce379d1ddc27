"""The float ONNX a target starts from: in one file, weights no inputs, and made ready to be quantized."""

import itertools
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends.names import unique
from edgekit_converters.graph.model import ONNX, inputs_of, load

Proto = Any  # ONNX's messages have no types
Turn = Mapping[int, Sequence[int]]
"""By rank, which axis of the source each axis of the artifact is."""

_MAX_BYTES = 2**31 - 1
QUANTIZE = frozenset({"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear"})
_FIRST_IR = 4
"""The first version in which weights need not be listed among the inputs."""


def read(path: Path, turn: Turn) -> Proto:
    """Return a model with all its weights inside, its nodes named, its inputs and outputs turned.

    Raises:
        ModelFileError: if it is damaged.
        UnsupportedError: if it has more weights than one file holds.
        ConverterMissingError: if onnx-ir is not installed.
    """
    try:
        import onnx_ir as ir
    except ImportError as exc:
        raise missing("onnx-ir", "onnx") from exc
    model = load(path)
    weights = [value.const_value for value in model.graph.initializers.values()]
    if sum(one.nbytes for one in weights if one is not None) >= _MAX_BYTES:
        raise UnsupportedError(f"model '{path.name}' has more than 2 GB of weights, which one ONNX file does not hold")
    ir.external_data.load_to_model(model)
    model.graph.inputs[:] = inputs_of(model)
    model.ir_version = max(model.ir_version, _FIRST_IR)
    _turn(model.graph, turn)
    made = ir.to_proto(model)
    _name_nodes(made)
    for graph in graphs(made.graph):  # exporters note where in whose code a node came from: as much as a small net
        for one in (*graph.node, *graph.value_info, *graph.initializer):
            one.ClearField("metadata_props")
            one.ClearField("doc_string")
    return made


def _name_nodes(model: Proto) -> None:
    """Name nodes without a name, or with another's, after what they compute."""
    names = unique([node.name or next(iter(node.output), node.op_type) for node in model.graph.node])
    for node, name in zip(model.graph.node, names, strict=True):
        node.name = name


def _turn(graph: Any, turn: Turn) -> None:  # noqa: ANN401  # an onnx_ir.Graph
    """Put a Transpose behind each input and before each output of a rank in `turn`; names stay at the rim."""
    import onnx_ir as ir

    for at, value in enumerate(graph.inputs):
        axes = turn.get(len(value.shape or ()))
        if axes is None:
            continue
        rim = ir.Value(name=value.name, type=value.type, shape=ir.Shape([value.shape[axis] for axis in axes]))
        back = [list(axes).index(axis) for axis in range(len(axes))]
        node = ir.node("Transpose", [rim], attributes={"perm": back}, name=f"{value.name}/layout")
        inner = node.outputs[0]
        inner.name, inner.type, inner.shape = f"{value.name}/inner", value.type, value.shape
        value.replace_all_uses_with(inner, replace_graph_outputs=True)
        graph.inputs[at] = rim
        graph.insert_before(graph[0], node)
    for at, value in enumerate(graph.outputs):
        axes = turn.get(len(value.shape or ()))
        if axes is None:
            continue
        node = ir.node("Transpose", [value], attributes={"perm": list(axes)}, name=f"{value.name}/layout")
        rim = node.outputs[0]
        rim.type, rim.shape = value.type, ir.Shape([value.shape[axis] for axis in axes])
        rim.name, value.name = value.name, f"{value.name}/inner"
        graph.append(node)
        graph.outputs[at] = rim


def ready(model: Proto, target: Path, opset: int) -> Proto:
    """Return what a quantizer starts from: simplified by ONNX Runtime into the file `target`.

    Batch normalization is part of its convolution then, and what is constant is computed. The opset is at least
    `opset` where the model can be raised to it.

    Raises:
        UnsupportedError: if ONNX Runtime does not take the model.
    """
    import onnx
    import onnxruntime

    whole = _raised(onnx.inliner.inline_local_functions(model) if model.functions else model, opset)
    _name_nodes(whole)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    options.log_severity_level = 3
    try:
        onnxruntime.InferenceSession(whole.SerializeToString(), options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its exceptions have no common base
        raise UnsupportedError(f"ONNX Runtime does not take the model: {first_line(exc)}") from exc
    made = onnx.load(str(target))
    del made.graph.value_info[:]  # a quantizer infers them anew, and what stands there may be of weights it replaces
    prune_domains(made)
    return made


def _raised(model: Proto, opset: int) -> Proto:
    """Return the model at an opset if ONNX's converter can raise it, else as it is."""
    import onnx

    if opset_of(model) >= opset or any(True for node in model.graph.node for _ in subgraphs(node)):
        return model  # the converter leaves what is inside If and Loop as it is, which would be another model
    try:
        made = onnx.version_converter.convert_version(model, opset)
        onnx.checker.check_model(made)
    except Exception:  # noqa: BLE001  # an op without an adapter, a domain of its own: its exceptions have no common base
        return model
    return made


def opset_of(model: Proto) -> int:
    """Return the version of ONNX's own operators."""
    return max((one.version for one in model.opset_import if one.domain in ONNX), default=1)


def prune_domains(model: Proto) -> None:
    """Take away the domains nothing is of: ONNX Runtime lists all it knows."""
    used = {node.domain for graph in graphs(model.graph) for node in graph.node} | {""}
    kept = [one for one in model.opset_import if one.domain in used]
    del model.opset_import[:]
    model.opset_import.extend(kept)


def tidied(model: Proto) -> Proto:
    """Return the model with every node behind what it takes, and of equal constants (zero points) one alone."""
    import onnx_ir as ir
    from onnx_ir.passes.common import DeduplicateInitializersPass

    made = ir.from_proto(model)
    DeduplicateInitializersPass()(made)
    made.graph.sort()
    return ir.to_proto(made)


def shorten(model: Proto, known: Collection[str]) -> None:
    """Give what a quantizer added short names, in place: its own repeat those of the layers, which fills small files.

    `known` are the names to keep: the source's.
    """
    ends = {one.name for one in (*model.graph.input, *model.graph.output)}
    added = [node for node in model.graph.node if node.op_type in QUANTIZE]
    names = dict.fromkeys(name for node in added for name in (*node.input, *node.output) if name)
    taken = {name for node in model.graph.node for name in (*node.input, *node.output)} | set(known) | ends
    fresh = (name for at in itertools.count() if (name := f"q{at}") not in taken)
    renamed = {name: next(fresh) for name in names if name not in known and name not in ends}
    for node in added:
        node.name = next(fresh)
    for node in model.graph.node:
        node.input[:] = [renamed.get(name, name) for name in node.input]
        node.output[:] = [renamed.get(name, name) for name in node.output]
    for one in (*model.graph.initializer, *model.graph.value_info):
        one.name = renamed.get(one.name, one.name)


def values_of(model: Proto) -> set[str]:
    """Return the names of everything in the main graph."""
    weights = {one.name for one in model.graph.initializer}
    return weights | {name for node in model.graph.node for name in (*node.input, *node.output)}


def graphs(graph: Proto) -> Iterator[Proto]:
    """Yield a graph and all inside its nodes."""
    yield graph
    for node in graph.node:
        for inner in subgraphs(node):
            yield from graphs(inner)


def subgraphs(node: Proto) -> Iterator[Proto]:
    """Yield the graphs a node holds: the branches of If, the body of Loop."""
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs
