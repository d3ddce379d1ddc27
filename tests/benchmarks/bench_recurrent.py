"""Recurrent layers of ONNX as TFLite: time to convert, size and latency by steps and width, beside ONNX Runtime."""

import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.jobs import JobRunner

CASES = [(op, steps, width) for op in ("LSTM", "GRU") for steps in (10, 50, 200, 1000) for width in (16, 128)]
GATES = {"LSTM": 4, "GRU": 3}
ROUNDS = 30


def model_of(op: str, steps: int, width: int) -> Any:
    """Return a layer of `width` values in and out over `steps` steps of one sample."""
    import onnx

    rows, rng = GATES[op] * width, np.random.default_rng(0)
    text = (
        f'<ir_version: 8, opset_import: ["": 14]> g (float[{steps}, 1, {width}] x) => (float[{steps}, 1, 1, {width}] y)'
        f"{{ y = {op}<hidden_size = {width}>(x, w, r, b) }}"
    )
    model = onnx.parser.parse_model(text)
    for name, shape in {"w": (1, rows, width), "r": (1, rows, width), "b": (1, 2 * rows)}.items():
        array = (rng.normal(size=shape) / np.sqrt(width)).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Convert and time one case, in a process of its own (the compiler may end it)."""
    import onnx_ir as ir
    import onnxruntime
    from ai_edge_litert.interpreter import Interpreter

    from edgekit_converters.lowering.pipeline import to_tflite

    op, steps, width = request["case"]
    proto = model_of(op, steps, width)
    x = np.random.default_rng(1).normal(size=(steps, 1, width)).astype(np.float32)
    start = time.perf_counter()
    made = to_tflite(ir.serde.deserialize_model(proto), "bench", [[{"x": x}]])
    seconds = time.perf_counter() - start
    interpreter = Interpreter(model_content=made.data, num_threads=1)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], x)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    times = _in_turns({"tflite": interpreter.invoke, "onnxruntime": lambda: session.run(None, {"x": x})})
    (wanted,) = session.run(None, {"x": x})
    got = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    return {
        "seconds": seconds,
        "ops": len(made.described.ops),
        "bytes": len(made.data),
        "max_abs": float(np.abs(got - wanted).max()),
        **times,
    }


def _in_turns(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Return the median microseconds of each."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            times[name].append(1e6 * (time.perf_counter() - start))
    return {name: statistics.median(one[3:]) for name, one in times.items()}


def main() -> None:
    heads = ("convert s", "ops", "bytes", "tflite us", "ORT us", "ratio", "max abs")
    print(f"{'layer':>16} " + " ".join(f"{one:>9}" for one in heads))
    with tempfile.TemporaryDirectory() as folder:
        jobs = JobRunner(log=Path(folder, "log"), environment={"PYTHONPATH": _paths()})
        for case in CASES:
            one = jobs.run("bench_recurrent", {"case": case})
            ratio = one["tflite"] / one["onnxruntime"]
            times = f"{one['tflite']:9.0f} {one['onnxruntime']:9.0f} {ratio:9.2f} {one['max_abs']:9.1e}"
            row = f"{one['seconds']:9.2f} {one['ops']:9} {one['bytes']:9,} {times}"
            print(f"{case[0]:>6} {case[1]:>5}x{case[2]:<3} {row}", flush=True)


def _paths() -> str:
    return ":".join([str(Path(__file__).parent), *sys.path])


if __name__ == "__main__":
    main()
