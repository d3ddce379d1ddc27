"""`edgekit.inspect`: what a model holds."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from edgekit._events import Event, OnEvent, ignore
from edgekit._report import SCHEMA
from edgekit_converters import tflite_file
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layers import memory, tflite
from edgekit_converters.layers.form import layered
from edgekit_converters.layers.view import View, by_operator, from_json
from edgekit_converters.model import SourceModel

# What reads a format with a library that is kept out of this process.
_JOBS = {".onnx": "edgekit_converters.onnx_file", ".xml": "edgekit_converters.openvino_file"}
_ORDER = ("format", "sha256", "size_bytes", "parameters", "macs", "inputs", "outputs")


def inspect(model: Path, on_event: OnEvent = ignore) -> dict[str, Any]:
    """Return what a model holds, as schema 1: operators, layers, tensors with their quantization, and memory.

    Keras models and SavedModels are shown as the float TFLite they become, PyTorch's as their ONNX. Free dimensions
    count as 1. `layers` are in the order they are run, their `inputs` and `outputs` are places in `tensors`.
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
    loaded, path = layered(model, jobs, work)
    facts = _facts(loaded.source)
    if path.suffix.lower() in _JOBS:
        found = jobs.run(_JOBS[path.suffix.lower()], {"model": str(path)})
        view = from_json(found["view"])
        return _with_grids(facts, view, {value.name: place for place, value in enumerate(view.values)}), view
    file = tflite_file.read(path)
    view, places = tflite.view(file), {name: one.index for name, one in (*file.public_inputs, *file.public_outputs)}
    return _with_grids({**facts, "parameters": file.parameters, "macs": file.macs}, view, places), view


def _with_grids(facts: dict[str, Any], view: View, places: Mapping[str, int]) -> dict[str, Any]:
    """Return the facts, with the quantization of inputs and outputs, whose values stand at `places`."""
    for spec in (*facts["inputs"], *facts["outputs"]):
        grid = view.values[places[spec["name"]]].quantization if spec["name"] in places else None
        spec["quantization"] = grid and asdict(grid)
    return facts


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
