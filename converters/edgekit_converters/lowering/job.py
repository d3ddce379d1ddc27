"""The job of the ONNX frontend: describe, run, lower, and prove the result against ONNX Runtime."""

import collections
import hashlib
import math
from pathlib import Path
from typing import Any

from edgekit_converters import tflite_file
from edgekit_converters._exchange import read_arrays, specs_to_json, write_arrays
from edgekit_converters.calibration import random_calibration
from edgekit_converters.data import bind
from edgekit_converters.errors import CalibrationError, UnsupportedError
from edgekit_converters.foreign import missing
from edgekit_converters.frontends.running import run_samples
from edgekit_converters.jobs import Json
from edgekit_converters.lowering import lower, onnx_graph
from edgekit_converters.lowering.graph import Graph, Node
from edgekit_converters.lowering.proof import check_weights, prove
from edgekit_converters.model import Array, TensorSpec

_NOT_TFLITE = ("STABLEHLO_", "CUSTOM", "Flex")


def run(request: Json) -> Json:
    """Carry out a request of `OnnxFrontend`; see there for the errors."""
    try:
        import onnx  # noqa: F401
        import onnxruntime  # noqa: F401
    except ImportError as exc:
        raise missing("onnx and onnxruntime", "onnx") from exc
    path, label = Path(request["model"]), request["label"]
    shapes = {name: tuple(shape) for name, shape in request["shapes"].items()}
    model = onnx_graph.load(path)
    onnx_graph.freeze(model, shapes, label, batch=False)
    inputs = _specs(onnx_graph.real_inputs(model))
    outputs = _specs(model.graph.output)
    warnings: list[str] = []
    openvino_input = path
    if shapes:
        openvino_input = Path(request["work"], path.name)
        openvino_input.write_bytes(model.SerializeToString())
    answer: dict[str, Any] = {
        **_files(path),
        "inputs": specs_to_json(inputs),
        "outputs": specs_to_json(outputs),
        "parameters": parameters(model),
        "macs": None,
        "reference": None,
        "tflite": None,
        "openvino_input": str(openvino_input),
        "steps": [],
        "warnings": warnings,
    }
    if request["reference"]:
        session = onnx_graph.session(model, optimise=True)
        arrays = bind(read_arrays(request["reference"]), inputs, "reference data")
        found = run_samples(lambda batch: _answers(session, batch), arrays, inputs)
        named = {spec.name: array for spec, array in zip(outputs, found, strict=True)}
        answer["reference"] = write_arrays(Path(request["work"], "reference.npz"), named)
    if request["tflite"]:
        warnings += onnx_graph.freeze(model, {}, label, batch=True)
        feeds = _seeded(_specs(onnx_graph.real_inputs(model)))
        graph, known = onnx_graph.read(model, label, feeds)
        answer |= {"macs": macs(graph), **_lowered(graph, known, feeds, Path(request["tflite"]))}
    else:
        answer["macs"] = _counted(model, label)
    return answer


def _answers(session: Any, batch: dict[str, Array]) -> list[Array]:  # noqa: ANN401  # an InferenceSession
    try:
        found: list[Array] = session.run(None, batch)
    except Exception as exc:  # its exceptions have no common base
        reason = str(exc).strip().splitlines()[0][:300]
        raise CalibrationError(f"reference data: ONNX Runtime stops on it: {reason}") from exc
    return found


def _counted(model: Any, label: str) -> int | None:  # noqa: ANN401  # an onnx.ModelProto
    """Return the multiply-accumulates of one run, or None where counting would need what only a lowering has.

    OpenVINO takes free dimensions, graphs inside graphs and inputs of any kind: no reason to refuse a model.
    """
    try:
        onnx_graph.freeze(model, {}, label, batch=True)
        graph, _ = onnx_graph.read(model, label, _seeded(_specs(onnx_graph.real_inputs(model))))
    except (UnsupportedError, CalibrationError):
        return None
    return macs(graph)


def _seeded(inputs: tuple[TensorSpec, ...]) -> dict[str, Array]:
    """Return one run's inputs, in the full shape of the model."""
    rows = max((spec.shape[0] or 1 for spec in inputs if spec.shape), default=1)
    samples = random_calibration(inputs, 0, rows)
    return {
        spec.name: samples[spec.name][: spec.shape[0]] if spec.shape else samples[spec.name][0, ...] for spec in inputs
    }


def _lowered(graph: Graph, known: dict[str, Array], feeds: dict[str, Array], target: Path) -> dict[str, Any]:
    check_weights(graph)
    data = lower(graph)
    described = tflite_file.parse(data, graph.label)
    ops = collections.Counter(op.name for op in described.ops)
    foreign = [name for name in ops if name.startswith(_NOT_TFLITE)]
    if foreign:
        raise UnsupportedError(
            f"model '{graph.label}': the compiler left {', '.join(foreign)}, which no TFLite runtime has"
        )
    prove(graph, data, described, known, feeds)
    target.write_bytes(data)
    before = collections.Counter(node.op for node in graph.nodes)
    step = {
        "name": "lower to TFLite",
        "before": {"ops": before.total(), "transposes": before["Transpose"]},
        "after": {"ops": ops.total(), "transposes": ops["TRANSPOSE"]},
    }
    return {"tflite": str(target), "steps": [step]}


def _specs(values: Any) -> tuple[TensorSpec, ...]:  # noqa: ANN401  # onnx.ValueInfoProtos
    return tuple(
        TensorSpec(name=one.name, shape=tuple(onnx_graph.dimensions(one)), dtype=onnx_graph.dtype_of(one))
        for one in values
    )


def _files(path: Path) -> dict[str, Any]:
    """Return digest and size of the file with its external data."""
    import onnx

    bare = onnx.load(str(path), load_external_data=False)
    outside = {entry.value for one in bare.graph.initializer for entry in one.external_data if entry.key == "location"}
    digest, size = hashlib.sha256(), 0
    for file in (path, *(path.parent / name for name in sorted(outside))):
        with file.open("rb") as opened:
            while chunk := opened.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
    return {"sha256": digest.hexdigest(), "size_bytes": size}


def parameters(model: Any) -> int:  # noqa: ANN401  # an onnx.ModelProto
    """Return the number of learnt values: floating-point weights."""
    import onnx

    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    return sum(math.prod(one.dims) for one in model.graph.initializer if one.data_type in floats)


def macs(graph: Graph) -> int:
    """Return the multiply-accumulates of one run."""
    return sum(node_macs(graph, node) for node in graph.nodes)


def node_macs(graph: Graph, node: Node) -> int:
    """Return a node's multiply-accumulates; 0 for all but convolutions and matrix products."""
    if node.op not in {"Conv", "ConvTranspose", "Gemm", "MatMul"}:
        return 0
    out, weights = graph.values[node.outputs[0]].shape, graph.values[node.inputs[1]].shape
    if node.op == "Conv":
        return math.prod(out) * math.prod(weights[1:])
    if node.op == "ConvTranspose":
        return math.prod(graph.values[node.inputs[0]].shape) * math.prod(weights[1:])
    inner = weights[1] if node.op == "Gemm" and node.attributes.get("transB", 0) else weights[0]
    return math.prod(out) * (inner if node.op == "Gemm" else graph.values[node.inputs[0]].shape[-1])
