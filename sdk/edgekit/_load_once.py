"""Load a model and run it once on made-up inputs: `python -I _load_once.py RUNTIME MODEL AGENT`.

Runs in the interpreter that has the runtime, so it needs nothing but the standard library, NumPy, the runtime, and the
host's own copy of the agent (its folder is AGENT). Ends with code 0 when the model ran; with `REFUSED`, or `UNCERTAIN`
where other inputs might have run, and the runtime's words on stderr.
"""

import functools
import importlib
import importlib.util
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

REFUSED, UNCERTAIN = 3, 4
_ARENA_BYTES = 256 << 20
_ONNX_TYPES = {"float": "float32", "double": "float64"}

Loaded = tuple[Callable[[], object], bool]
"""What runs the model once, and whether its inputs may need certain values: axes, indices, lengths, limits."""


def _agents(runtime: str, model: Path, agent: Path) -> Loaded:
    where = str(agent / "__init__.py")
    spec = importlib.util.spec_from_file_location("edgekit_agent", where, submodule_search_locations=[str(agent)])
    assert spec is not None  # noqa: S101  # the file is ours
    sys.modules["edgekit_agent"] = importlib.util.module_from_spec(spec)
    feeds, runtimes = (importlib.import_module(f"edgekit_agent.{name}") for name in ("feeds", "runtimes"))
    session = runtimes.choose(model, runtime).load(model)
    (inputs,) = feeds.synthetic(session.inputs, 0, count=1)
    whole = [array.dtype.kind in "iu" and not one.scale for array, one in zip(inputs, session.inputs, strict=True)]
    fed = [array % 2 if small else array for array, small in zip(inputs, whole, strict=True)]
    return functools.partial(session.invoke, fed), any(whole) or _has_single(fed)


def _micro(_runtime: str, model: Path, _agent: Path) -> Loaded:
    runtime = importlib.import_module("tflite_micro").runtime
    interpreter = runtime.Interpreter.from_bytes(model.read_bytes(), arena_size=_ARENA_BYTES)
    at, whole = 0, False
    while (wanted := _input_of(interpreter, at)) is not None:
        dtype = np.dtype(wanted["dtype"])
        interpreter.set_input(_made_up(tuple(wanted["shape"]), dtype), at)
        whole |= dtype.kind in "iu" and not len(wanted["quantization_parameters"]["scales"])
        at += 1
    return interpreter.invoke, whole


def _input_of(interpreter: Any, at: int) -> Mapping[str, Any] | None:  # noqa: ANN401  # the runtime has no types
    """Return the description of an input, None past the last: the library does not tell their number."""
    try:
        described: Mapping[str, Any] = interpreter.get_input_details(at)
    except (IndexError, RuntimeError):
        return None
    return described


def _onnxruntime(_runtime: str, model: Path, _agent: Path) -> Loaded:
    onnxruntime = importlib.import_module("onnxruntime")
    onnxruntime.set_default_logger_severity(4)  # its words come in the exception
    session = onnxruntime.InferenceSession(str(model), providers=["CPUExecutionProvider"])
    inputs = {}
    for one in session.get_inputs():
        kind = one.type.removeprefix("tensor(").removesuffix(")")
        shape = tuple(size if isinstance(size, int) else 1 for size in one.shape)
        inputs[one.name] = _made_up(shape, np.dtype(_ONNX_TYPES.get(kind, kind)))
    whole = any(array.dtype.kind in "iu" for array in inputs.values())
    return functools.partial(session.run, None, inputs), whole or _has_single(list(inputs.values()))


def _has_single(arrays: Sequence[Any]) -> bool:
    """Whether a number stands by itself beside other inputs: a size or a limit, even as a float."""
    return len(arrays) > 1 and any(array.size == 1 for array in arrays)


def _made_up(shape: tuple[int, ...], dtype: "np.dtype[Any]") -> Any:  # noqa: ANN401  # a NumPy array
    """Return numbers most models take: whole ones are 0 or 1, so that they also serve as indices and flags."""
    rng = np.random.default_rng(0)
    drawn = rng.uniform(0.1, 1.0, shape) if dtype.kind == "f" else rng.integers(0, 2, shape)
    return drawn.astype(dtype)


RUNTIMES: Mapping[str, Callable[[str, Path, Path], Loaded]] = {
    "ai-edge-litert": _agents,
    "tflite-runtime": _agents,
    "openvino": _agents,
    "onnxruntime": _onnxruntime,
    "tflite-micro": _micro,
}


def main(runtime: str, model: Path, agent: Path) -> int:
    """Load and run, and return the exit code."""
    code = REFUSED
    try:
        run, whole = RUNTIMES[runtime](runtime, model, agent)
        code = UNCERTAIN if whole else REFUSED
        run()
    except Exception as exc:  # noqa: BLE001  # whatever a library raises is its answer
        print(f"{exc}", file=sys.stderr)  # noqa: T201  # the way out of this process
        return code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], Path(sys.argv[2]), Path(sys.argv[3])))
