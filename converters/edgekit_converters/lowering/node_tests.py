"""ONNX's own node tests (they come inside the `onnx` package) run through the lowering, one verdict a test.

Each is a tiny model with inputs and expected outputs. A verdict is `passed` (LiteRT gives the expected
outputs within the test's own tolerance), `refused` (an error with a reason, before any file), `failed` (a
file was made that gives something else) or `crashed` (the process died).
"""

import json
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_converters.errors import ConversionError, JobCrashedError
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.model import Array

MODULE = "edgekit_converters.lowering.node_tests"
# What a border may hold for a test to be in scope: no strings, sequences, half floats or 8-bit types.
_BORDER = frozenset({"float32", "int32", "int64", "bool"})


def load_cases() -> dict[str, Any]:
    """Return every node test by name; `onnx` makes them in some seconds."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # NumPy's, of the infinities the tests are about
        from onnx.backend.test.loader import load_model_tests

        return {case.name: case for case in load_model_tests(kind="node")}


def in_scope(case: Any) -> bool:  # noqa: ANN401  # onnx's TestCase
    """Whether a test has only float32, int32, int64 and bool at its borders, float32 among them, and no training."""
    kinds = set()
    for value in (*case.model.graph.input, *case.model.graph.output):
        if value.type.WhichOneof("value") != "tensor_type":
            return False
        kinds.add(_name_of(value.type.tensor_type.elem_type))
    training = any(one.domain.startswith("ai.onnx.preview.training") for one in case.model.opset_import)
    return kinds <= _BORDER and "float32" in kinds and not training and "training" not in case.name


def _name_of(kind: int) -> str:
    import onnx

    try:
        return str(np.dtype(onnx.helper.tensor_dtype_to_np_dtype(kind)).name)
    except (KeyError, TypeError):
        return "unknown"


def run_all(names: Sequence[str], work: Path) -> dict[str, dict[str, Any]]:
    """Return a verdict for each test: `status`, `reason`, `ops` (TFLite operators). A crash costs one test."""
    jobs = JobRunner(log=work / "run.log")
    left, found = list(names), dict[str, dict[str, Any]]()
    while left:
        answers = work / "answers.jsonl"
        answers.write_text("")
        try:
            jobs.run(MODULE, {"names": left, "answers": str(answers)})
            crashed = None
        except JobCrashedError as exc:
            crashed = str(exc)
        lines = [json.loads(line) for line in answers.read_text().splitlines()]
        found |= {line["name"]: line for line in lines if "status" in line}
        if crashed is not None:
            begun = [line["name"] for line in lines if "status" not in line]
            found[begun[-1]] = {"name": begun[-1], "status": "crashed", "reason": crashed, "ops": []}
        left = [name for name in left if name not in found]
    return found


def run(request: Json) -> Json:
    """Write a line of JSON to `request["answers"]` when a test begins, and one with its verdict."""
    cases = load_cases()
    with Path(request["answers"]).open("a") as answers:
        for name in request["names"]:
            answers.write(json.dumps({"name": name}) + "\n")
            answers.flush()
            answers.write(json.dumps({"name": name, **verdict(cases[name])}) + "\n")
            answers.flush()
    return None


def verdict(case: Any) -> dict[str, Any]:  # noqa: ANN401  # onnx's TestCase
    """Lower one test and run it on its inputs."""
    import onnx_ir as ir

    from edgekit_converters.graph.model import inputs_of
    from edgekit_converters.lowering.pipeline import to_tflite
    from edgekit_converters.lowering.proof import run_tflite

    (given, wanted), *_ = case.data_sets
    model = ir.serde.deserialize_model(case.model)
    names = [value.name or "" for value in inputs_of(model)]
    feeds = {name: np.asarray(array) for name, array in zip(names, given, strict=False) if array is not None}
    try:
        lowered = to_tflite(model, case.name, [[feeds]])
        got = run_tflite(lowered.data, lowered.described, feeds)
    except ConversionError as exc:
        notes = "".join(f"; {note}" for note in getattr(exc, "__notes__", []) if note.startswith("also"))
        reason = str(exc).removeprefix(f"model '{case.name}': ") + notes
        # A file that differs is caught by the proof, but it is a defect of the lowering.
        return {"status": "failed" if "differs" in reason else "refused", "reason": reason, "ops": []}
    except Exception as exc:  # noqa: BLE001  # a bug of the lowering is a verdict here
        return {"status": "failed", "reason": f"{type(exc).__name__}: {exc}"[:300], "ops": []}
    ops = sorted({op.name for op in lowered.described.ops})
    outputs = [got[value.name] for value in case.model.graph.output]
    for value, mine, right in zip(case.model.graph.output, outputs, wanted, strict=True):
        differs = _differs(mine, np.asarray(right), case.rtol, case.atol)
        if differs:
            return {"status": "failed", "reason": f"output '{value.name}' {differs}", "ops": ops}
    return {"status": "passed", "reason": None, "ops": ops}


def _differs(got: Array, wanted: Array, rtol: float, atol: float) -> str | None:
    if got.shape != wanted.shape or got.dtype != wanted.dtype:
        return f"is {got.dtype}{list(got.shape)}, not {wanted.dtype}{list(wanted.shape)}"
    if got.dtype.kind != "f":
        return None if np.array_equal(got, wanted) else "differs"
    # What should cancel out to zero is left with a rounding of what was summed up: here and in the expected values.
    largest = np.max(np.abs(wanted[np.isfinite(wanted)].astype(np.float64)), initial=0.0)
    atol = max(atol, float(np.finfo(np.float32).eps) * float(largest))
    if np.allclose(got, wanted, rtol=rtol, atol=atol, equal_nan=True):
        return None
    with np.errstate(all="ignore"):
        return f"differs by {np.nanmax(np.abs(got.astype(np.float64) - wanted.astype(np.float64))):.2g}"
