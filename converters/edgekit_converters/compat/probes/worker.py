"""Load and run one-op files on the runtime of this interpreter; `run.py` starts it in the runtime's own environment.

`python -I worker.py RUNTIME FOLDER ANSWERS`: FOLDER has `NUMBER.tflite` and `cases.json` (number, key, seed, inputs as
[shape, dtype, scale, zero point, whether as real numbers, true if they are to be above zero], number of outputs);
ANSWERS grows by one JSON line before and one after each case, so that a crash names its case. Cases already answered
are left out. Needs the standard library, NumPy and the runtime.
"""

import functools
import importlib
import json
import os
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO, Any, Self

import numpy as np

Arrays = list[Any]
_SAID_BYTES = 3000
_FREE_COINS = 0.5


def main(runtime: str, folder: Path, answers: Path) -> None:
    """Run every case that has no answer yet and write what became of it."""
    run = RUNTIMES[runtime]
    known = [json.loads(line) for line in answers.read_text().splitlines()] if answers.exists() else []
    done = {one["case"] for one in known if "ok" in one}
    with answers.open("a", buffering=1) as log:
        for case in json.loads((folder / "cases.json").read_text()):
            if case["key"] in done:
                continue
            content = (folder / f"{case['number']}.tflite").read_bytes()
            log.write(json.dumps({"case": case["key"]}) + "\n")
            log.write(json.dumps({"case": case["key"], **_answer(run, content, case)}) + "\n")


def _answer(run: Callable[[bytes, Arrays, int], Arrays], content: bytes, case: dict[str, Any]) -> dict[str, Any]:
    inputs = [made_up(one, case["seed"] * 7 + at) for at, one in enumerate(case["inputs"])]
    with _Captured() as said:
        try:
            outputs = run(content, inputs, case["outputs"])
            return {"ok": True, "outputs": [_listed(one) for one in outputs]}
        except Exception as exc:  # noqa: BLE001  # whatever a library raises is its answer
            reason = str(exc) or type(exc).__name__
    return {"ok": False, "reason": reason, "said": said.text}


class _Captured:
    """Takes what native code writes to stdout and stderr."""

    text = ""

    def __enter__(self) -> Self:
        self._file: IO[bytes] = tempfile.TemporaryFile()  # closed in __exit__
        self._kept = [os.dup(1), os.dup(2)]
        for to in (1, 2):
            os.dup2(self._file.fileno(), to)
        return self

    def __exit__(self, *_: object) -> None:
        for to, kept in zip((1, 2), self._kept, strict=True):
            os.dup2(kept, to)
            os.close(kept)
        self._file.seek(0)
        self.text = self._file.read().decode("utf-8", "replace")[:_SAID_BYTES]
        self._file.close()


def made_up(wanted: Sequence[Any], seed: int) -> Any:  # noqa: ANN401  # a NumPy array
    """Return an input, the same in every environment; plain integers are 1 to 3, so that they also serve as indices.

    `real` gives the numbers that the stored values of another case stand for.
    """
    shape, dtype, scale, zero, real = tuple(wanted[0]), np.dtype(wanted[1]), *wanted[2:5]
    positive = wanted[5:] == [True]
    if real:
        return ((made_up([*wanted[:4], False, *wanted[5:]], seed).astype(np.float32) - zero) * scale).astype(np.float32)
    rng = np.random.RandomState(seed)  # its numbers are the same in every NumPy
    if dtype.kind == "f":
        return rng.uniform(0.1, 1.0, shape).astype(dtype)
    if dtype.kind == "c":
        return (rng.uniform(-1, 1, shape) + 1j * rng.uniform(-1, 1, shape)).astype(dtype)
    if dtype.kind == "b":
        return rng.uniform(0, 1, shape) < _FREE_COINS
    if positive:
        return rng.randint(zero + 1, zero + 101, shape).astype(dtype)
    low, high = ((-100, 100) if dtype.kind == "i" else (28, 228)) if scale else (1, 3)
    return rng.randint(low, high + 1, shape).astype(dtype)


def _listed(array: Any) -> dict[str, Any]:  # noqa: ANN401  # a NumPy array
    if array.dtype.kind == "c":
        array = np.stack([array.real, array.imag])
    values = array.astype(np.float64).ravel()
    return {"dtype": str(array.dtype), "shape": list(array.shape), "values": values.tolist()}


def _tflite(module: str, content: bytes, inputs: Arrays, _outputs: int) -> Arrays:
    interpreter = importlib.import_module(module).Interpreter(model_content=content, num_threads=1)
    interpreter.allocate_tensors()
    for one, array in zip(interpreter.get_input_details(), inputs, strict=True):
        interpreter.set_tensor(one["index"], array)
    interpreter.invoke()
    return [np.array(interpreter.get_tensor(one["index"])) for one in interpreter.get_output_details()]


def _micro(content: bytes, inputs: Arrays, outputs: int) -> Arrays:
    runtime = importlib.import_module("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 20)
    for at, array in enumerate(inputs):
        interpreter.set_input(array, at)
    interpreter.invoke()
    return [np.array(interpreter.get_output(at)) for at in range(outputs)]


@functools.cache
def _core() -> Any:  # noqa: ANN401  # OpenVINO has no types
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # no usage statistics
    return importlib.import_module("openvino").Core()


def _openvino(content: bytes, inputs: Arrays, outputs: int) -> Arrays:
    with tempfile.NamedTemporaryFile(suffix=".tflite") as file:  # its TFLite reader takes files only
        file.write(content)
        file.flush()
        compiled = _core().compile_model(file.name, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    results = compiled(inputs)
    return [np.array(results[at]) for at in range(outputs)]


RUNTIMES: dict[str, Callable[[bytes, Arrays, int], Arrays]] = {
    "tflite-runtime": functools.partial(_tflite, "tflite_runtime.interpreter"),
    "ai-edge-litert": functools.partial(_tflite, "ai_edge_litert.interpreter"),
    "tflite-micro": _micro,
    "openvino": _openvino,
}

if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3]))
