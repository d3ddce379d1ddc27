"""An ONNX model made ready for lowering: shapes fixed, constants folded, every value's shape and dtype known.

ONNX Runtime itself is the oracle: the model is run once with every intermediate value as an output.
That gives the true shapes, and the values of all that does not depend on the inputs (exporters leave
chains of Shape, Gather, Concat behind), whatever the opset.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.lowering.control import Known, write_out
from edgekit_converters.lowering.graph import Graph, Node, Value, needed
from edgekit_converters.model import Array

MAX_MODEL_BYTES = 2**31 - 1
OLDEST_OPSET = 7  # before it, operands were broadcast by attributes
# Their outputs depend on shapes alone, and the shapes are fixed.
_SHAPE_OPS = frozenset({"Shape", "Size"})
_ONNX = frozenset({"", "ai.onnx"})
_NOT_CONSTANT = frozenset(
    {"RandomNormal", "RandomUniform", "RandomNormalLike", "RandomUniformLike", "Multinomial", "Bernoulli"}
)


def load(path: Path) -> Any:  # noqa: ANN401  # an onnx.ModelProto
    """Read and check an ONNX file with its external data.

    Raises:
        ModelFileError: if it is missing, too large, truncated, not ONNX, or its data lies elsewhere.
        UnsupportedError: if an op is none of ONNX's at the model's opset.
    """
    import onnx
    from google.protobuf.message import DecodeError  # type: ignore[import-untyped]  # it has no types

    try:
        if path.stat().st_size == 0:
            raise ModelFileError(f"model '{path}' is empty")
        if path.stat().st_size > MAX_MODEL_BYTES:
            raise ModelFileError(f"model '{path}' is larger than 2 GiB; keep its weights as external data")
        model = onnx.load(str(path))
        if not model.graph.node or not model.opset_import:
            raise ModelFileError(f"model '{path}' is not ONNX or is truncated: it holds no graph")
        _check_ops(model, path.name)
        onnx.checker.check_model(str(path))
    except DecodeError as exc:
        raise ModelFileError(f"model '{path}' is not ONNX or is truncated") from exc
    except FileNotFoundError as exc:
        raise ModelFileError(f"model '{path}' or its external data does not exist") from exc
    except (onnx.checker.ValidationError, ValueError, OSError) as exc:
        reason = str(exc).strip().splitlines()[0][:300]
        raise ModelFileError(f"model '{path}' is not a valid ONNX model: {reason}") from exc
    return model


def _check_ops(model: Any, label: str) -> None:  # noqa: ANN401  # an onnx.ModelProto
    import onnx

    opset = max((one.version for one in model.opset_import if one.domain in _ONNX), default=0)
    own = {function.name for function in model.functions if function.domain in _ONNX}
    for index, node in enumerate(model.graph.node):
        if node.domain not in _ONNX or node.op_type in own:
            continue
        try:
            onnx.defs.get_schema(node.op_type, opset, "")
        except onnx.defs.SchemaError as exc:
            raise UnsupportedError(f"model '{label}': {_node(index, node)} is no op of ONNX opset {opset}") from exc


def real_inputs(model: Any) -> list[Any]:  # noqa: ANN401  # onnx has loose types
    """Return the graph inputs that are no weights (up to opset 8 the weights are listed too)."""
    weights = {initializer.name for initializer in model.graph.initializer}
    return [value for value in model.graph.input if value.name not in weights]


def dimensions(value: Any) -> list[int | None]:  # noqa: ANN401  # an onnx.ValueInfoProto
    """Return a value's declared shape, None where a dimension is free."""
    tensor = value.type.tensor_type
    return [d.dim_value if d.HasField("dim_value") and d.dim_value > 0 else None for d in tensor.shape.dim]


def dtype_of(value: Any) -> str:  # noqa: ANN401  # an onnx.ValueInfoProto
    """Return a value's dtype as NumPy names it."""
    import onnx

    return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(value.type.tensor_type.elem_type)).name)


def freeze(model: Any, shapes: Mapping[str, tuple[int, ...]], label: str, *, batch: bool) -> list[str]:  # noqa: ANN401  # changes an onnx.ModelProto
    """Fix the inputs' shapes in place: those given, and (`batch`) a free first dimension as 1. Return warnings.

    Raises:
        UnsupportedError: if a shape given does not fit, or (`batch`) another dimension stays free.
    """
    warnings = []
    names = [value.name for value in real_inputs(model)]
    unknown = [name for name in shapes if name not in names]
    if unknown:
        raise UnsupportedError(f"model '{label}' has no input '{unknown[0]}'; it has: {', '.join(names)}")
    for value in real_inputs(model):
        declared = dimensions(value)
        wanted = list(shapes.get(value.name, declared))
        if len(wanted) != len(declared) or any(d not in {None, w} for d, w in zip(declared, wanted, strict=True)):
            shown = "x".join("?" if d is None else str(d) for d in declared)
            raise UnsupportedError(
                f"model '{label}': input '{value.name}' has shape {shown}, which the shape given does not fit"
            )
        if batch and wanted and wanted[0] is None:
            wanted[0] = 1
            warnings.append(f"the free first dimension of input '{value.name}' is fixed to 1 for TFLite")
        if batch and None in wanted:
            error = UnsupportedError(f"model '{label}': input '{value.name}' has a free dimension besides the first")
            shown = "x".join("N" if d is None else str(d) for d in wanted)
            error.add_note(f"give its shape: --shape {value.name}={shown}, with a number for each N")
            raise error
        for dimension, size in zip(value.type.tensor_type.shape.dim, wanted, strict=True):
            if size is not None:
                dimension.Clear()
                dimension.dim_value = size
    return warnings


def read(model: Any, label: str, feeds: Mapping[str, Array]) -> tuple[Graph, dict[str, Array]]:  # noqa: ANN401  # an onnx.ModelProto
    """Return the graph, and every value of one run on the feeds (whose shapes are the model's from here on)."""
    import onnx

    opset = max((one.version for one in model.opset_import if one.domain in _ONNX), default=0)
    if opset < OLDEST_OPSET:
        raise UnsupportedError(f"model '{label}' has opset {opset}; {OLDEST_OPSET} and newer have a TFLite lowering")
    if model.graph.sparse_initializer:
        raise UnsupportedError(f"model '{label}': sparse weights have no TFLite lowering")
    if model.functions:
        import onnx.inliner

        model = onnx.inliner.inline_local_functions(model)
    original, model = model, onnx.ModelProto()
    model.CopyFrom(original)
    write_out(model, label, lambda one: _known(one, feeds))
    nodes = tuple(_node(index, node) for index, node in enumerate(model.graph.node))
    for node in nodes:
        if any(isinstance(value, onnx.GraphProto) for value in node.attributes.values()):
            raise UnsupportedError(f"model '{label}': {node} has no TFLite lowering: it holds a graph of its own")
    known = _run_everything(model, nodes, feeds)
    initial = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    if len(model.graph.node) != len(original.graph.node):  # the proof is against the model as it came
        known |= _run_everything(original, (), feeds)
    known |= initial
    constants: dict[str, Array] = dict(initial)
    variable = []
    for node in nodes:
        fixed = node.op in _SHAPE_OPS or all(not name or name in constants for name in node.inputs)
        if fixed and node.op not in _NOT_CONSTANT:
            constants |= {name: known[name] for name in node.outputs if name in known}
        else:
            variable.append(node)
    kept = needed(variable, [value.name for value in model.graph.output])
    values = {name: Value(shape=tuple(array.shape), dtype=array.dtype.name) for name, array in known.items()}
    uses: dict[str, int] = {}
    for name in [name for node in kept for name in node.inputs] + [value.name for value in model.graph.output]:
        uses[name] = uses.get(name, 0) + 1
    graph = Graph(
        label=label,
        nodes=tuple(kept),
        inputs=tuple(value.name for value in real_inputs(model)),
        outputs=tuple(value.name for value in model.graph.output),
        values=values,
        constants=constants,
        opset=opset,
        uses=uses,
    )
    return graph, known


def _known(model: Any, feeds: Mapping[str, Array]) -> Known:  # noqa: ANN401  # an onnx.ModelProto
    """Return what does not depend on the inputs' values: their shapes are fixed."""
    import onnx

    nodes = tuple(_node(index, node) for index, node in enumerate(model.graph.node))
    found = _run_everything(model, nodes, feeds)
    values = {one.name: onnx.numpy_helper.to_array(one) for one in model.graph.initializer}
    for node in nodes:
        plain = not any(isinstance(value, onnx.GraphProto) for value in node.attributes.values())
        fixed = node.op in _SHAPE_OPS or all(not name or name in values for name in node.inputs)
        if fixed and plain and node.op not in _NOT_CONSTANT:
            values |= {name: found[name] for name in node.outputs if name in found}
    return Known(values=values, shapes={name: array.shape for name, array in found.items()})


def _node(index: int, node: Any) -> Node:  # noqa: ANN401  # an onnx.NodeProto
    import onnx

    attributes = {one.name: onnx.helper.get_attribute_value(one) for one in node.attribute}
    attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
    return Node(
        index=index,
        op=node.op_type,
        name=node.name,
        domain=node.domain,
        inputs=tuple(node.input),
        outputs=tuple(node.output),
        attributes=attributes,
    )


def _run_everything(model: Any, nodes: tuple[Node, ...], feeds: Mapping[str, Array]) -> dict[str, Array]:  # noqa: ANN401  # an onnx.ModelProto
    import onnx

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    already = {value.name for value in whole.graph.output}
    every = [name for node in nodes for name in node.outputs if name]
    whole.graph.output.extend(onnx.ValueInfoProto(name=name) for name in every if name not in already)
    ready = session(whole)
    try:
        outputs = ready.run(None, dict(feeds))
    except Exception as exc:  # its exceptions have no common base
        reason = str(exc).strip().splitlines()[0][:300]
        raise UnsupportedError(f"ONNX Runtime stops on random inputs, with which it is proved: {reason}") from exc
    names = [value.name for value in whole.graph.output]
    known = {name: np.asarray(array) for name, array in zip(names, outputs, strict=True) if array is not None}
    return known | {name: np.asarray(array) for name, array in feeds.items()}


def session(model: Any, *, optimise: bool = False) -> Any:  # noqa: ANN401  # onnx.ModelProto or path -> InferenceSession
    """Return an ONNX Runtime session on one CPU thread.

    Raises:
        ModelFileError: if ONNX Runtime does not take the model.
        UnsupportedError: if it does not have an op of a domain of its own.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    level = onnxruntime.GraphOptimizationLevel
    options.graph_optimization_level = level.ORT_ENABLE_ALL if optimise else level.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    try:
        return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
    except Exception as exc:  # its exceptions have no common base
        nodes = [] if isinstance(model, Path) else enumerate(model.graph.node)
        for index, node in nodes:
            if f" {node.domain}:{node.op_type}(" in str(exc):
                named = _node(index, node)
                raise UnsupportedError(f"{named} of '{node.domain}' is nothing ONNX Runtime has") from exc
        raise ModelFileError(f"ONNX Runtime does not take the model: {str(exc).strip().splitlines()[0][:300]}") from exc
