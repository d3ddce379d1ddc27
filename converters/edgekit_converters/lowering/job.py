"""The job of the ONNX frontend: describe, run, lower, and prove the result against ONNX Runtime."""

import collections
import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_converters._exchange import specs_to_json, write_arrays
from edgekit_converters.calibration import FREE
from edgekit_converters.errors import CalibrationError, DeadlineError, ModelFileError, UnsupportedError
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.frontends import samples
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.control import has_control_flow
from edgekit_converters.graph.fixing import fix_inputs
from edgekit_converters.graph.flatten import Feeds, flatten
from edgekit_converters.graph.oracle import run_session, session
from edgekit_converters.graph.trial import BATCH, FreeInput, runs_of, symbols_of
from edgekit_converters.jobs import Json
from edgekit_converters.lowering import OPS
from edgekit_converters.lowering.dims import Dim
from edgekit_converters.lowering.graph import Graph, Node
from edgekit_converters.lowering.pipeline import Lowered, to_tflite
from edgekit_converters.lowering.reading import read
from edgekit_converters.lowering.recurrent import RECURRENT
from edgekit_converters.model import Array, TensorSpec

if TYPE_CHECKING:
    import onnx_ir as ir


def run(request: Json) -> Json:
    """Carry out a request of `OnnxFrontend`; see there for the errors."""
    try:
        import onnx  # noqa: F401
        import onnx_ir  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as exc:
        raise missing("onnx, onnx-ir and onnxruntime", "onnx") from exc
    path, label = Path(request["model"]), request["label"]
    model = graph_model.load(path)
    graph_model.freeze(model, {name: tuple(shape) for name, shape in request["shapes"].items()}, label)
    fix_inputs(model, request["constants"], label)
    inputs = graph_model.specs(graph_model.inputs_of(model))
    outputs = graph_model.specs(list(model.graph.outputs))
    file = path
    if request["shapes"] or request["constants"]:
        file = Path(request["work"], path.name)
        graph_model.save(model, file)
    answer: dict[str, Any] = {
        **graph_model.fingerprint(path, model),
        "inputs": specs_to_json(inputs),
        "outputs": specs_to_json(outputs),
        "parameters": graph_model.parameters(model),
        "macs": None,
        "reference": None,
        "tflite": None,
        "openvino_input": str(_without_control_flow(model, file, Path(request["work"]))),
        "steps": [],
        "warnings": [],
        "notes": [],
    }
    arrays: dict[str, Array] = {}
    if request["reference"]["given"] or request["reference"]["random"]:
        # of a branch on what is known ONNX Runtime's optimiser has been seen to crash
        ready = session(file, optimise=not has_control_flow(model))
        arrays, found = _reference(ready, request["reference"], inputs)
        named = {spec.name: array for spec, array in zip(outputs, found, strict=True)}
        answer["reference"] = write_arrays(Path(request["work"], "reference.npz"), named)
    if request["tflite"]:
        lowered, warnings = _lowered(model, label, arrays, channels_last=request["channels_last"])
        Path(request["tflite"]).write_bytes(lowered.data)
        answer |= {
            "macs": macs(lowered.graph),
            "tflite": request["tflite"],
            "steps": [_step(lowered)],
            "warnings": [*warnings, *lowered.flat.warnings],
            "notes": list(lowered.notes),
        }
    else:
        answer["macs"] = _counted(model, label)
    return answer


def _without_control_flow(model: "ir.Model", file: Path, work: Path) -> Path:
    """Return the file for OpenVINO: branches and loops on what is known written out, as its reader stumbles over them.

    Of loops too: their length is no free size, or they are left. Only of fixed shapes is it certain which branch an
    `If` takes. What cannot be written out is left to OpenVINO.
    """
    import onnx_ir as ir

    free = any(any(one.symbols) for one in _free_inputs(model))
    if not has_control_flow(model) or (free and any(node.op_type == "If" for node in model.graph.all_nodes())):
        return file
    try:
        flat = flatten(model, _trials(model, {}), {node.op_type for node in model.graph.all_nodes()})
    except (UnsupportedError, ModelFileError, DeadlineError):
        return file
    if flat.stuck or flat.warnings:
        return file
    plain = work / f"plain-{file.name}"
    graph_model.save(ir.serde.deserialize_model(flat.whole()), plain)
    return plain


def _reference(
    ready: Any,  # noqa: ANN401  # an InferenceSession
    told: Json,
    inputs: tuple[TensorSpec, ...],
) -> tuple[dict[str, Array], list[Array]]:
    """Run the samples; return them and the outputs. Random ones take the first size of free dimensions that runs."""
    first: CalibrationError | None = None
    for free in (FREE,) if told["given"] else (FREE, 8, 224):
        arrays = samples.taken(told, inputs, free) or {}
        try:
            return arrays, run_samples(lambda batch: _answers(ready, batch), arrays, inputs)
        except CalibrationError as exc:
            first = first or exc
            if all(None not in spec.shape[1:] for spec in inputs):
                break
    if first is None:
        raise AssertionError("there is always one size")
    if told["random"]:
        first.add_note(
            "random inputs were tried: fix sizes and values by --shape and --constant, or give real ones by --eval"
        )
    raise first


def _answers(ready: Any, batch: dict[str, Array]) -> list[Array]:  # noqa: ANN401  # an InferenceSession
    try:
        return run_session(ready, None, batch)
    except DeadlineError:
        raise
    except Exception as exc:  # its exceptions have no common base
        raise CalibrationError(f"reference data: ONNX Runtime stops on it: {first_line(exc)}") from exc


def _counted(model: "ir.Model", label: str) -> int | None:
    """Return the multiply-accumulates of one run, or None where counting would need what only a lowering has.

    OpenVINO takes free dimensions, graphs inside graphs and inputs of any kind: no reason to refuse a model.
    """
    try:
        return macs(read(flatten(model, _trials(model, {}), OPS), label))
    except (UnsupportedError, ModelFileError, DeadlineError):
        return None


def _lowered(
    model: "ir.Model", label: str, arrays: dict[str, Array], *, channels_last: bool
) -> tuple[Lowered, list[str]]:
    """Lower with the free dimensions kept; where that cannot be had, with a batch of 1."""
    free = _free_inputs(model)
    try:
        return to_tflite(model, label, list(_trials(model, arrays)), channels_last=channels_last), []
    except UnsupportedError as exc:
        first = {one.spec.name for one in free if one.symbols and one.symbols[0]}
        inner = [one.spec for one in free if any(one.symbols[1:])]
        if inner:
            shown = "x".join("N" if size is None else str(size) for size in inner[0].shape)
            exc.add_note(f"or fix the free dimensions: --shape {inner[0].name}={shown}, with a number for each N")
        if inner or not first:
            raise
        fixed = model.clone()
        shapes = {one.spec.name: (1, *one.spec.shape[1:]) for one in free if one.spec.name in first}
        graph_model.freeze(fixed, shapes, label)  # type: ignore[arg-type]  # only the first was free
        warnings = [f"the free first dimension of input '{name}' is fixed to 1 for TFLite" for name in sorted(first)]
        lowered = to_tflite(fixed, label, list(_trials(fixed, arrays)), channels_last=channels_last)
        return lowered, [*warnings, f"it cannot stay free: {exc}"]


def _free_inputs(model: "ir.Model") -> list[FreeInput]:
    values = graph_model.inputs_of(model)
    return [symbols_of(spec, _names(value)) for spec, value in zip(graph_model.specs(values), values, strict=True)]


def _names(value: "ir.Value") -> list[str | None]:
    sizes = () if value.shape is None else tuple(value.shape)
    return [None if isinstance(size, int) else size.value for size in sizes]


def _trials(model: "ir.Model", arrays: dict[str, Array]) -> Iterator[Sequence[Feeds]]:
    """Yield what to run the model with: random inputs, then (of a fixed shape) the data that was given."""
    free = _free_inputs(model)
    yield from runs_of(free)
    if arrays and not any(any(one.symbols) for one in free):
        yield [{one.spec.name: _first(arrays[one.spec.name], one.spec.shape) for one in free}]


def _first(array: Array, shape: tuple[int | None, ...]) -> Array:
    """Return the first samples, the last one repeated up to the batch."""
    if array.ndim > len(shape):
        return np.asarray(array[0])
    return np.asarray(np.resize(array, (shape[0] or 1, *array.shape[1:])))


def _step(lowered: Lowered) -> dict[str, Any]:
    before = collections.Counter(node.op for node in lowered.graph.nodes)
    after = collections.Counter(op.name for op in lowered.described.ops)
    return {
        "name": "lower to TFLite",
        "before": {"ops": before.total(), "transposes": before["Transpose"]},
        "after": {"ops": after.total(), "transposes": after["TRANSPOSE"]},
    }


def macs(graph: Graph) -> int | None:
    """Return the multiply-accumulates of one sample; None where more than the batch is free."""
    total = sum(node_macs(graph, node) for node in graph.nodes)
    if not isinstance(total, Dim):
        return total
    per_sample, rest = divmod(total.samples[0], BATCH[0])
    alike = [count * BATCH[0] in {total.samples[0] * size for size in BATCH} for count in total.samples]
    return per_sample if not rest and len(total.samples) == len(BATCH) and all(alike) else None


def node_macs(graph: Graph, node: Node) -> int:
    """Return a node's multiply-accumulates; 0 for all but convolutions, matrix products and recurrent layers."""
    if node.domain not in graph_model.ONNX:
        return 0
    if node.op in RECURRENT:
        steps = math.prod(graph.values[node.inputs[0]].shape[:2])
        return steps * sum(math.prod(_shape(graph, name)) for name in node.inputs[1:3])
    if node.op not in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
        return 0
    out, weights = graph.values[node.outputs[0]].shape, _shape(graph, node.inputs[1])
    if node.op == "Conv":
        return math.prod(out) * math.prod(weights[1:])
    if node.op == "ConvTranspose":
        return math.prod(_shape(graph, node.inputs[0])) * math.prod(weights[1:])
    inner = weights[1] if node.op == "Gemm" and node.attributes.get("transB", 0) else weights[0]
    return math.prod(out) * (inner if node.op == "Gemm" else _shape(graph, node.inputs[0])[-1])


def _shape(graph: Graph, name: str) -> tuple[int, ...]:
    return graph.constants[name].shape if name in graph.constants else graph.values[name].shape
