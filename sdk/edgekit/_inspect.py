"""`edgekit.inspect`: what a model holds."""

import tempfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit._report import SCHEMA, sha256
from edgekit_converters import frontend_for, tflite_file
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import memory, tflite
from edgekit_converters.layers.view import View, by_operator, from_json
from edgekit_converters.model import SourceModel

_ORDER = ("format", "sha256", "size_bytes", "parameters", "macs", "inputs", "outputs")


def inspect(model: Path, on_event: OnEvent = ignore) -> dict[str, Any]:
    """Return what a model holds, as schema 1: operators, layers, tensors with their quantization, and memory.

    Keras models and SavedModels are shown as the float TFLite they become. Sizes and multiply-accumulates count free
    dimensions as 1. `layers` are in the order they are run, their `inputs` and `outputs` are places in `tensors`.
    `memory` is the plan of `edgekit_converters.layers.memory`, in bytes.

    Raises:
        ModelFileError: if it is missing, damaged, or not what its name says.
        ConverterMissingError: if the format's library is not installed.
    """
    on_event(Event(stage="inspect", detail=str(model)))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        facts, view = _read(model, Path(scratch))
    return {
        "schema": SCHEMA,
        "path": str(model),
        **{key: facts[key] for key in _ORDER},
        "operators": by_operator(view.nodes),
        **_layers(view),
    }


def _read(model: Path, work: Path) -> tuple[dict[str, Any], View]:
    jobs = JobRunner(log=work / "run.log")
    if model.suffix.lower() == ".xml":
        found = jobs.run("edgekit_converters.openvino_file", {"model": str(model.resolve())})
        view = from_json(found.pop("view"))
        counts = {
            "parameters": sum(node.parameters for node in view.nodes),
            "macs": sum(node.macs or 0 for node in view.nodes),
            "size_bytes": sum(file.stat().st_size for file in (model, model.with_suffix(".bin"))),
        }
        return {"format": "openvino", "sha256": sha256(model), **counts, **found}, view
    frontend = frontend_for(model)
    if frontend.format == "onnx":
        source = frontend.load(LoadRequest(model=model, work=work), jobs).source
        found = jobs.run("edgekit_converters.onnx_file", {"model": str(model.resolve())})
        return _facts(source), from_json(found["view"])
    loaded = frontend.load(LoadRequest(model=model, work=work, want_tflite=True), jobs)
    assert loaded.float_tflite is not None  # noqa: S101  # asked for
    file = tflite_file.read(model if frontend.format == "tflite" else loaded.float_tflite)
    return {**_facts(loaded.source), "parameters": file.parameters, "macs": file.macs}, tflite.view(file)


def _facts(source: SourceModel) -> dict[str, Any]:
    return {key: value for key, value in asdict(source).items() if key != "path"}


def _layers(view: View) -> dict[str, Any]:
    plan = memory.plan(view)
    kinds = dict.fromkeys(view.outputs, "output") | dict.fromkeys(view.inputs, "input")
    fixed = view.fixed
    tensors = [
        {
            "name": value.name,
            "kind": kinds.get(place, "constant" if place in fixed else "activation"),
            "shape": None if value.shape is None else list(value.shape),
            "dtype": value.dtype,
            "bytes": value.size_bytes,
            "quantization": value.quantization and asdict(value.quantization),
        }
        for place, value in enumerate(view.values)
    ]
    layers = [{**asdict(node), "alive_bytes": step.bytes} for node, step in zip(view.nodes, plan.steps, strict=True)]
    peak = None
    if plan.peak is not None:
        node = view.nodes[plan.peak]
        peak = {"layer": plan.peak, "name": node.name, "op": node.op, "alive": list(plan.steps[plan.peak].alive)}
    return {
        "dynamic": [
            {"name": value.name, "shape": value.shape and list(value.shape)}
            for place, value in enumerate(view.values)
            if place not in fixed and (value.shape is None or None in value.shape)
        ],
        "memory": {
            "peak_bytes": plan.peak_bytes,
            "peak": peak,
            "lower_bound_bytes": plan.lower_bound_bytes,
            "arena_bytes": plan.arena_bytes,
            "alignment_bytes": memory.ALIGNMENT_BYTES,
            "unknown_sizes": plan.unknown,
        },
        "tensors": tensors,
        "layers": layers,
    }
