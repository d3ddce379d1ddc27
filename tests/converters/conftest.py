"""Fixtures of the converters' tests: a job runner, a TFLite file made by hand, and models made by TensorFlow."""

import importlib.util
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.jobs import JobRunner


@pytest.fixture
def jobs(tmp_path: Path) -> JobRunner:
    return JobRunner(log=tmp_path / "run.log")


@pytest.fixture
def work(tmp_path: Path) -> Path:
    folder = tmp_path / "work"
    folder.mkdir()
    return folder


@pytest.fixture(scope="session")
def tensorflow_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of models made by a process of its own (about ten seconds, once)."""
    folder = tmp_path_factory.mktemp("models")
    script = Path(__file__).with_name("make_models.py")
    made = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False, timeout=300
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return folder


@pytest.fixture(scope="session")
def torch_models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of PyTorch models in every format, made by a process of its own."""
    needs("torch", "onnxscript")
    folder = tmp_path_factory.mktemp("torch-models")
    script = Path(__file__).with_name("torch_nets.py")
    made = subprocess.run(
        [sys.executable, str(script), str(folder)], capture_output=True, text=True, check=False, timeout=300
    )
    assert made.returncode == 0, made.stderr[-2000:]
    return folder


@pytest.fixture
def factories(monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this folder the current one: `torch_nets:residual` is then a model."""
    monkeypatch.chdir(Path(__file__).parent)


def needs(*modules: str) -> None:
    """Skip where a framework is not installed."""
    missing = [name for name in modules if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"needs {', '.join(missing)}: make setup-frameworks")


@pytest.fixture(scope="session")
def installed() -> Callable[..., None]:
    """Skip where a framework is not installed: `installed("jax")`."""
    return needs


@pytest.fixture(scope="session")
def tiny_tflite() -> Callable[..., bytes]:
    """Make a TFLite file by hand: image [1, 6, 6, 2] -> convolution 3x3 to 4 -> dense to 3, without a signature."""
    return _tiny_tflite


def _tiny_tflite(free_batch: bool = False, kernel: int = 3) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    rng = np.random.default_rng(5)
    model, graph = schema.ModelT(), schema.SubGraphT()
    model.version, model.description, model.buffers = 3, b"made by hand", [schema.BufferT()]
    graph.name, graph.tensors = b"main", []
    side = 6 - kernel + 1

    def tensor(name: str, shape: list[int], data: Any = None) -> int:
        one = schema.TensorT()
        one.name, one.shape, one.type, one.buffer = name.encode(), shape, schema.TensorType.FLOAT32, 0
        if free_batch and data is None:
            one.shapeSignature = [-1, *shape[1:]]
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.tobytes(), np.uint8)
            one.type = {"f": schema.TensorType.FLOAT32, "i": schema.TensorType.INT32}[data.dtype.kind]
            one.buffer = len(model.buffers)
            model.buffers.append(buffer)
        graph.tensors.append(one)
        return len(graph.tensors) - 1

    def weight(name: str, shape: list[int]) -> int:
        return tensor(name, shape, rng.normal(size=shape).astype(np.float32))

    def operator(code: str, options: Any, inputs: list[int], outputs: list[int]) -> Any:
        op, kind = schema.OperatorT(), schema.OperatorCodeT()
        kind.builtinCode = kind.deprecatedBuiltinCode = getattr(schema.BuiltinOperator, code)
        kind.version = 1
        model.operatorCodes.append(kind)
        op.opcodeIndex, op.inputs, op.outputs = len(model.operatorCodes) - 1, inputs, outputs
        op.builtinOptions = options
        op.builtinOptionsType = getattr(schema.BuiltinOptions, type(options).__name__.removesuffix("T"))
        return op

    model.operatorCodes = []
    image = tensor("image", [1, 6, 6, 2])
    filters, bias = weight("filters", [4, kernel, kernel, 2]), weight("bias", [4])
    features = tensor("features", [1, side, side, 4])
    flat_shape = tensor("flat_shape", [2], np.array([-1, side * side * 4], np.int32))
    flat = tensor("flat", [1, side * side * 4])
    dense, offset = weight("dense", [3, side * side * 4]), weight("offset", [3])
    scores = tensor("scores", [1, 3])
    convolution = schema.Conv2DOptionsT()
    convolution.padding, convolution.strideH, convolution.strideW = schema.Padding.VALID, 1, 1
    convolution.fusedActivationFunction = schema.ActivationFunctionType.RELU
    graph.operators = [
        operator("CONV_2D", convolution, [image, filters, bias], [features]),
        operator("RESHAPE", schema.ReshapeOptionsT(), [features, flat_shape], [flat]),
        operator("FULLY_CONNECTED", schema.FullyConnectedOptionsT(), [flat, dense, offset], [scores]),
    ]
    graph.inputs, graph.outputs = [image], [scores]
    model.subgraphs = [graph]
    builder = flatbuffers.Builder(4096)
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


@pytest.fixture(scope="session")
def run_artifact() -> Callable[..., dict[str, Any]]:
    """Run samples [N, ...] one by one (or whole inputs) through an artifact; outputs by name."""

    def run(path: Path, inputs: dict[str, Any], runtime: str = "") -> dict[str, Any]:
        runtime = runtime or {".xml": "openvino", ".tflite": "tflite"}[path.suffix]
        return {"openvino": _run_openvino, "tflite": _run_tflite}[runtime](path, inputs)

    return run


def _run_tflite(path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(model_path=str(path), num_threads=1)
    runner = interpreter.get_signature_runner("serving_default")
    ranks = {name: len(one["shape"]) for name, one in runner.get_input_details().items()}
    return _run_each(lambda given: runner(**given), inputs, ranks)


def _run_openvino(path: Path, inputs: dict[str, Any]) -> dict[str, Any]:
    import openvino

    model = openvino.Core().read_model(path)
    compiled = openvino.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    names = [port.get_any_name() for port in model.outputs]  # compiling adds names of what was merged into an output
    ranks = {port.get_any_name(): len(port.partial_shape) for port in model.inputs}

    def call(given: dict[str, Any]) -> dict[str, Any]:
        answer = compiled(given)
        return {name: answer[at] for at, name in enumerate(names)}

    return _run_each(call, inputs, ranks)


def _run_each(
    call: Callable[[dict[str, Any]], dict[str, Any]], inputs: dict[str, Any], ranks: dict[str, int]
) -> dict[str, Any]:
    """Run sample by sample; an input with an axis more than the model's is given whole."""
    rows = []
    for at in range(len(next(iter(inputs.values())))):
        given = {name: one[at] if one.ndim == ranks[name] + 1 else one[at : at + 1] for name, one in inputs.items()}
        rows.append(call(given))
    whole = {name: rows[0][name].ndim == 0 or len(rows[0][name]) != 1 for name in rows[0]}
    return {name: (np.stack if whole[name] else np.concatenate)([row[name] for row in rows]) for name in rows[0]}
