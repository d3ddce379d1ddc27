"""`edgekit.inspect`: what a model holds."""

import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit._report import SCHEMA, sha256
from edgekit_converters import frontend_for, tflite_file
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import SourceModel


def inspect(model: Path, on_event: OnEvent = ignore) -> dict[str, Any]:
    """Return a model's inputs, outputs, operators, parameters, multiply-accumulates and size, as schema 1.

    Keras models and SavedModels are shown as the float TFLite they become.

    Raises:
        ModelFileError: if it is missing, damaged, or not what its name says.
        ConverterMissingError: if the format's library is not installed.
    """
    on_event(Event(stage="inspect", detail=str(model)))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        work = Path(scratch)
        jobs = JobRunner(log=work / "run.log")
        if model.suffix.lower() == ".xml":
            found = jobs.run("edgekit_converters.openvino_file", {"model": str(model.resolve())})
            files = (model, model.with_suffix(".bin"))
            facts = {
                "format": "openvino",
                "size_bytes": sum(file.stat().st_size for file in files),
                "sha256": sha256(model),
            }
            return _document(model, {**facts, **found})
        frontend = frontend_for(model)
        if frontend.format == "onnx":
            source = frontend.load(LoadRequest(model=model, work=work), jobs).source
            found = jobs.run("edgekit_converters.onnx_file", {"model": str(model.resolve())})
            return _document(model, {**_facts(source), **found})
        loaded = frontend.load(LoadRequest(model=model, work=work, want_tflite=True), jobs)
        assert loaded.float_tflite is not None  # noqa: S101  # asked for
        file = tflite_file.read(model if frontend.format == "tflite" else loaded.float_tflite)
        counted = {"parameters": file.parameters, "macs": file.macs, "operators": _operators(file.ops)}
        return _document(model, {**_facts(loaded.source), **counted})


def _facts(source: SourceModel) -> dict[str, Any]:
    return {key: value for key, value in asdict(source).items() if key != "path"}


def _document(model: Path, facts: dict[str, Any]) -> dict[str, Any]:
    order = ("format", "sha256", "size_bytes", "parameters", "macs", "inputs", "outputs", "operators")
    return {"schema": SCHEMA, "path": str(model), **{key: facts[key] for key in order}}


def _operators(ops: Sequence[tflite_file.Op]) -> list[dict[str, Any]]:
    rows: dict[str, dict[str, int]] = {}
    for op in ops:
        row = rows.setdefault(op.name, {"count": 0, "parameters": 0, "macs": 0})
        row["count"] += 1
        row["parameters"] += sum(tensor.elements for tensor in op.inputs if tensor is not None and tensor.is_weight)
        row["macs"] += op.macs or 0
    return [{"op": name, **row} for name, row in sorted(rows.items(), key=lambda item: -item[1]["count"])]
