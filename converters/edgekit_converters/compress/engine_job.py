"""The job of `engine`: make a model plain and look whether every step can be done, or carry out one of them."""

import collections
import dataclasses
import time
from pathlib import Path
from typing import TYPE_CHECKING

from edgekit_converters._exchange import read_arrays, specs_to_json
from edgekit_converters.calibration import random_calibration
from edgekit_converters.compress import free_batch, technique_for
from edgekit_converters.compress.base import Effect, Left, Setting, Technique
from edgekit_converters.compress.figures import infer_shapes, static_figures
from edgekit_converters.compress.steps import RecipeStep, parse_step
from edgekit_converters.data import bind
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.events import written_to
from edgekit_converters.foreign import first_line, missing
from edgekit_converters.graph import model as graph_model
from edgekit_converters.graph.plain import make_plain
from edgekit_converters.graph.proof import outputs, prove
from edgekit_converters.graph.reading import name_of
from edgekit_converters.jobs import Json
from edgekit_converters.layers.choice import chosen
from edgekit_converters.layers.view import Node, Value, View
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

_PROVED_ON = 8  # samples


def run(request: Json) -> Json:
    """Carry out a request of `engine.compress`; see there for the errors."""
    steps = [parse_step(text) for text in request["steps"]]
    model = graph_model.load(Path(request["model"]))
    place, output = request["step"], Path(request["output"])
    if place is None:
        make_plain(model)
        infer_shapes(model)
        graph_model.save(model, output)
        for step in steps:
            _check(model, step, request)
        return {"rim": _rim(model)}
    return _carried_out(model, steps[place], request, output)


def _carried_out(model: "ir.Model", step: RecipeStep, request: Json, output: Path) -> Json:
    technique, setting = technique_for(step.technique), _setting(model, step, request)
    tried = _samples(model, setting)
    before = static_figures(model, Path(request["model"]))
    begin = time.monotonic()
    wanted = outputs(model, tried, setting.work / "proved.onnx") if technique.exact else []
    model, setting, fixed = _with_free_batch(model, technique, step, setting)
    why = technique.check(model, step.values, setting) if step.optional else None
    effect = technique.apply(model, step.values, setting) if why is None else Effect(left=(Left(layer="-", why=why),))
    if not effect.changes and not step.optional:
        raise UnsupportedError(f"technique {step.text} changes nothing: {_why(effect)}")
    if fixed is not None:
        fixed.again(model)
    _tidy(model, step, output)
    if technique.exact:
        prove(f"model behind {step.text}", outputs(model, tried, setting.work / "proved.onnx"), wanted)
    return {
        **dataclasses.asdict(effect),
        "before": before,
        "after": static_figures(model, output),
        "seconds": time.monotonic() - begin,
        "exact": technique.exact,
        "rim": _rim(model),
    }


def _with_free_batch(
    model: "ir.Model", technique: Technique, step: RecipeStep, setting: Setting
) -> "tuple[ir.Model, Setting, free_batch.Fixed | None]":
    """Return what a technique works on that runs the model on samples: with a free batch, where that pays."""
    if setting.calibration is None or "calibration" not in technique.needs(step.values):
        return model, setting, None
    found = free_batch.freed(model, setting.calibration, setting.work)
    if found is None:
        return model, setting, None
    source = graph_model.load(setting.source)
    make_plain(source)
    infer_shapes(source)
    opened, fixed = found
    first = free_batch.freed(source, setting.calibration, setting.work)
    if first is None:
        return opened, setting, fixed
    file = setting.work / "source-free.onnx"
    graph_model.save(first[0], file)
    return opened, dataclasses.replace(setting, source=file), fixed


def _rim(model: "ir.Model") -> Json:
    """Return what a caller of the model has to know: its inputs and outputs."""
    return [
        specs_to_json(graph_model.specs(values)) for values in (graph_model.inputs_of(model), [*model.graph.outputs])
    ]


def _check(model: "ir.Model", step: RecipeStep, request: Json) -> None:
    technique = technique_for(step.technique)
    if "torch" in technique.needs(step.values):
        try:
            import torch  # noqa: F401
        except ImportError as exc:
            raise missing("PyTorch", "torch") from exc
    why = technique.check(model, step.values, _setting(model, step, request))
    if why is not None and not step.optional:
        raise UnsupportedError(f"technique {step.text} cannot be done to model '{Path(request['source']).name}': {why}")


def _setting(model: "ir.Model", step: RecipeStep, request: Json) -> Setting:
    given = read_arrays(request["calibration"]) if request["calibration"] else None
    inputs = graph_model.specs(graph_model.inputs_of(model))
    work = Path(request["work"], f"step-{request['step']}")
    work.mkdir(exist_ok=True)
    return Setting(
        work=work,
        source=Path(request["source"]),
        calibration=None if given is None else bind(given, inputs, "calibration data"),
        labels=read_arrays(request["labels"]) if request["labels"] else None,
        only=_named(model, step) if step.layers else None,
        targets=tuple(request["targets"]),
        seed=request["seed"],
        kept=Path(request["kept"]) if request["kept"] else None,
        on_event=written_to(Path(request["events"])),
    )


def _named(model: "ir.Model", step: RecipeStep) -> frozenset[str]:
    """Return the names of the nodes that a step's patterns mean."""
    nodes = list(model.graph)
    values = [one for node in nodes for one in node.outputs]
    places = {id(one): at for at, one in enumerate(values)}
    view = View(
        values=tuple(Value(name=str(one.name), shape=None, dtype="") for one in values),
        nodes=tuple(
            Node(
                name=name_of(node),
                op=node.op_type,
                inputs=(),
                outputs=tuple(places[id(one)] for one in node.outputs),
                parameters=sum(one is not None and one.const_value is not None for one in node.inputs),
            )
            for node in nodes
        ),
        inputs=(),
        outputs=(),
    )
    try:
        return frozenset(name_of(nodes[at]) for at in chosen(view, step.layers))
    except UnsupportedError as exc:
        exc.add_note(f"it is named in the step {step.text}")
        raise


def _samples(model: "ir.Model", setting: Setting) -> Arrays:
    inputs = graph_model.specs(graph_model.inputs_of(model))
    if setting.calibration is None:
        return random_calibration(inputs, setting.seed, _PROVED_ON)
    return {name: array[:_PROVED_ON] for name, array in setting.calibration.items()}


def _tidy(model: "ir.Model", step: RecipeStep, output: Path) -> None:
    """Drop what nothing uses, infer the shapes anew, write the file, and have ONNX check it."""
    import onnx
    from onnx_ir.passes import common

    common.RemoveUnusedNodesPass()(model)
    infer_shapes(model)
    graph_model.save(model, output)
    try:
        onnx.checker.check_model(str(output), full_check=True)
        graph_model.load(output)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError, ModelFileError) as exc:
        error = UnsupportedError(f"the model behind {step.text} is no valid ONNX model: {first_line(exc)}")
        error.add_note("this is a fault of the technique; please report the model's operators")
        raise error from exc


def _why(effect: Effect) -> str:
    why = collections.Counter(one.why for one in effect.left).most_common(1)
    if not why:
        return "it has no layer for it"
    return f"{why[0][0]} (layer '{next(one.layer for one in effect.left if one.why == why[0][0])}')"
