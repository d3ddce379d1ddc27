"""Load a model and run it once on a runtime the agent does not have: `python -I _load_once.py RUNTIME MODEL`.

Runs in the interpreter that has the runtime, so it needs nothing but the standard library, NumPy and the runtime.
Ends with code 0 when the model ran, with 3 and the runtime's words on stderr when it refused.
"""

import importlib
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

REFUSED = 3
_ARENA_BYTES = 256 << 20
_ONNX_TYPES = {"float": "float32", "double": "float64"}


def _micro(model: Path) -> None:
    runtime = importlib.import_module("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(model.read_bytes(), arena_size=_ARENA_BYTES)
    at = 0
    while (wanted := _input_of(interpreter, at)) is not None:
        interpreter.set_input(_made_up(tuple(wanted["shape"]), np.dtype(wanted["dtype"])), at)
        at += 1
    interpreter.invoke()


def _input_of(interpreter: Any, at: int) -> Mapping[str, Any] | None:  # noqa: ANN401  # the runtime has no types
    """Return the description of an input, None past the last: the library does not tell their number."""
    try:
        described: Mapping[str, Any] = interpreter.get_input_details(at)
    except (IndexError, RuntimeError):
        return None
    return described


def _onnxruntime(model: Path) -> None:
    onnxruntime = importlib.import_module("onnxruntime")
    onnxruntime.set_default_logger_severity(4)  # its words come in the exception
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = {}
    for one in session.get_inputs():
        kind = one.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(size if isinstance(size, int) else 1 for size in one.shape)
        inputs[one.name] = _made_up(shape, np.dtype(_ONNX_TYPES.get(kind, kind)))
    session.run(None, inputs)


def _made_up(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Any:  # noqa: ANN401  # a NumPy array
    """Return numbers any model takes: whole ones are 0 or 1, so that they also serve as indices and flags."""
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0.1, 1.0, shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
    return drawn.astype(dtype)


RUNTIMES: dict[str, Callable[[Path], None]] = {"tflite-micro": _micro, "onnxruntime": _onnxruntime}


if __name__ == "__main__":
    try:
        RUNTIMES[sys.argv[1]](Path(sys.argv[2]))
    except Exception as exc:  # noqa: BLE001  # whatever a library raises is its answer
        print(f"{exc}", file=sys.stderr)  # noqa: T201  # the way out of this process
        sys.exit(REFUSED)
