"""A job: build the small models of a table, lower each, and compare with ONNX Runtime.

One process for a whole table, because starting the compiler takes seconds. It writes the name of each case
before it begins with it: the compiler can take the process down.
"""

import collections
import json
import traceback
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import ConversionError
from edgekit_converters.graph.model import inputs_of, specs
from edgekit_converters.graph.oracle import Oracle
from edgekit_converters.lowering.pipeline import to_tflite
from edgekit_converters.lowering.proof import run_tflite

DTYPES = {
    "float": np.float32,
    "int32": np.int32,
    "int64": np.int64,
    "bool": np.bool_,
    "int8": np.int8,
    "uint8": np.uint8,
    "double": np.float64,
}


def run(request: dict[str, Any]) -> dict[str, Any]:
    """Return for each case `error`, or `max_abs`, `scale`, `ops`; and append to `request["progress"]`."""
    answers = {}
    for name, case in request["cases"].items():
        with Path(request["progress"]).open("a") as progress:
            progress.write(f"{name}\n")
        try:
            answers[name] = _compare(model_of(case), case, name)
        except ConversionError as exc:
            answers[name] = {"error": str(exc), "notes": getattr(exc, "__notes__", [])}
        except Exception:  # noqa: BLE001  # one case must not hide the others
            answers[name] = {"error": traceback.format_exc()}
        Path(request["answers"]).write_text(json.dumps(answers))
    return answers


def model_of(case: dict[str, Any]) -> Any:
    """Return the model that a case's text describes, with seeded weights of the given shapes or the given values."""
    import onnx

    rng = np.random.default_rng(7)
    outputs = ", ".join(f"{kind} {name}" for name, kind in case["outputs"].items())
    inputs = ", ".join(f"{kind} {name}" for name, kind in case["inputs"].items())
    text = f'<ir_version: 8, opset_import: ["": {case["opset"]}]> g ({inputs}) => ({outputs}) {{ {case["body"]} }}'
    model = onnx.parser.parse_model(text)
    for name, given in case["weights"].items():
        model.graph.initializer.append(onnx.numpy_helper.from_array(weight_of(given, rng), name))
    return onnx.shape_inference.infer_shapes(model)


def weight_of(given: Any, rng: np.random.Generator) -> Any:
    """Return random values for a shape `[..]`, or given values `{"dtype": [..]}`."""
    if isinstance(given, dict):
        ((kind, values),) = given.items()
        return np.asarray(values, dtype=DTYPES[kind])
    return (rng.normal(size=given) * 0.5).astype(np.float32)


def feeds_of(model: Any, case: dict[str, Any], seed: int = 11, free: int = 1) -> dict[str, Any]:
    """Return seeded inputs: floats around 0 (or as `range` says), integers from 0 to 3, or those given."""
    rng = np.random.default_rng(seed)
    feeds = {}
    for spec in specs(inputs_of(model)):
        shape, kind = [size or free for size in spec.shape], np.dtype(spec.dtype)
        low, high = case["range"]
        made = rng.integers(0, 4, shape) if kind.kind in "iu" else rng.uniform(low, high, shape)
        made = case.get("feeds", {}).get(spec.name, made)
        feeds[spec.name] = np.asarray(np.asarray(made) > 0) if kind.kind == "b" else np.asarray(made).astype(kind)
    return feeds


def _compare(model: Any, case: dict[str, Any], name: str) -> dict[str, Any]:
    """Lower with one run (free sizes: with two), then compare on it and on values and sizes not seen so far."""
    import onnx_ir as ir

    held = ir.serde.deserialize_model(model)
    trials = [feeds_of(held, case, free=2)]
    if any(None in spec.shape for spec in specs(inputs_of(held))):
        trials.append(feeds_of(held, case, free=3))
    lowered = to_tflite(held, name, [trials])
    data, described = lowered.data, lowered.described
    oracle, worst, scale = Oracle(lowered.flat.proto), 0.0, 0.0
    for feeds in (trials[0], feeds_of(held, case, seed=12, free=5)):
        every = oracle.values(feeds)
        for output_name, got in run_tflite(data, described, feeds).items():
            wanted = every[output_name]
            if got.shape != wanted.shape or got.dtype != wanted.dtype:
                return {"error": f"'{output_name}' is {got.dtype}{got.shape}, not {wanted.dtype}{wanted.shape}"}
            differs = np.abs(got.astype(np.float64) - wanted.astype(np.float64))
            worst = max(worst, float(np.max(np.where(got == wanted, 0.0, differs), initial=0.0)))
            scale = max(scale, float(np.max(np.abs(wanted.astype(np.float64)), initial=0.0)))
    if case.get("keep"):
        Path(case["keep"]).write_bytes(data)
    return {
        "max_abs": worst if np.isfinite(worst) else str(worst),
        "scale": scale,
        "ops": dict(collections.Counter(op.name for op in described.ops)),
        "notes": list(lowered.notes),
        "inputs": [one for one, _ in described.public_inputs],
        "outputs": [one for one, _ in described.public_outputs],
    }
