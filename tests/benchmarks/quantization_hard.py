"""Models made hard on purpose: plain int8, EdgeKit's accuracy gate, and NNCF's accuracy control side by side."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._options import TARGETS
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from tests.benchmarks import hard_models
from tests.benchmarks.lanes import NotHereError
from tests.benchmarks.quantization_cases import CASES, cifar
from tests.benchmarks.quantization_rows import Entry, Judged, Task, judge
from tests.benchmarks.quantization_tools import OURS, Made, Tool, Work, edgekit, nncf, tools

METRIC = "tests.benchmarks.hard_models:class_is_right"
MAX_DROP = 0.005
SEEN = 1000
"""Samples the gates look at, at most; as many others judge what they found."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Hard:
    """A way to make ResNet8 hard."""

    title: str
    what: str
    make: Callable[[Any], int]


HARD: Mapping[str, Hard] = {
    "spread": Hard(
        title="ResNet8, channels spread",
        what="between convolutions that follow each other, channels times 10**uniform(-1.5, 1.5)",
        make=hard_models.spread,
    ),
    "head": Hard(
        title="ResNet8, detection head",
        what="scores from 0 to 1 and boxes from 0 to 640 in one output",
        make=hard_models.detection_head,
    ),
    "hswish": Hard(
        title="ResNet8, hard-swish",
        what="hard-swish in the place of the first Relu between convolutions, its channels times 10**uniform(0.5, 3)",
        make=hard_models.hard_swish,
    ),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What a gate did: how many models it evaluated, what it left in float, and seconds from start to end."""

    evaluations: int
    in_float: tuple[str, ...]
    seconds: float
    precision: str = ""
    met: bool = True
    """Whether the gate was met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HardSection:
    """A hard model's rows on the samples the gates saw and on others, and the gates' efforts by entry number."""

    title: str
    what: str
    seen: Judged
    unseen: Judged
    efforts: Mapping[int, Effort]


def judged(name: str, samples: int, rounds: int, folder: Path) -> HardSection:
    """Make a hard model, quantize it every way, and judge what came of it."""
    how = HARD[name]
    shown, pixels, labels = cifar(2 * min(samples, SEEN))
    work, evaluation = _prepared(how, shown, pixels[::2], labels[::2], folder)
    entries, efforts = [], {}
    for number, tool in enumerate((*_plain(work), *_gates(evaluation))):
        place = folder / f"tool-{number}"
        place.mkdir()
        try:
            made = tool.make(work, place)
            entries.append(Entry(name=tool.name, runtime=tool.runtime, path=made.path, seconds=made.seconds))
            if tool.name in _EFFORTS:
                efforts[number] = _EFFORTS[tool.name](made)
        except NotHereError as exc:
            entries.append(Entry(name=tool.name, runtime=tool.runtime, failed=str(exc)))
        print(f"  {tool.runtime:9} {tool.name:28} {entries[-1].failed or _said(efforts.get(number))}", flush=True)
    entries += _floats(work)
    task = Task(inputs={"x": pixels[::2]}, labels=labels[::2], metric=METRIC, scored=lambda output, _: output)
    other = replace(task, inputs={"x": pixels[1::2]}, labels=labels[1::2])
    seen, unseen = judge(entries, task, rounds, folder), judge(entries, other, 0, folder)
    return HardSection(title=how.title, what=how.what, seen=seen, unseen=unseen, efforts=efforts)


def _prepared(how: Hard, shown: Any, pixels: Any, labels: Any, folder: Path) -> tuple[Work, Path]:
    import onnx

    calibration, evaluation = folder / "calibration.npz", folder / "evaluation.npz"
    np.savez(calibration, x=shown)
    np.savez(evaluation, x=pixels, y=labels)
    work = Work(model=CASES["resnet8"].net.model(), kind="onnx", folder=folder, calibration=calibration)
    (folder / "onnx").mkdir()
    asked = LoadRequest(model=Path(work.model), work=folder / "onnx", through_onnx=True)
    model = onnx.load(frontend_for(asked.model).load(asked, work.jobs).onnx)
    assert how.make(model)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, folder / "hard.onnx")
    work = replace(work, model=str(folder / "hard.onnx"), onnx=folder / "hard.onnx")
    made = edgekit(work, folder / "float", "openvino", "--to", "tflite", "--precision", "fp32")
    return replace(work, tflite=made.path.with_name("hard.fp32.tflite")), evaluation


def _floats(work: Work) -> list[Entry]:
    assert work.tflite is not None
    return [
        Entry(name="float", runtime="tflite", path=work.tflite, is_float=True),
        Entry(name="float", runtime="openvino", path=work.tflite.with_suffix(".xml"), is_float=True),
        Entry(name="float", runtime="onnx", path=work.onnx, is_float=True),
    ]


def _plain(work: Work) -> list[Tool]:
    return [one for one in tools(work) if one.name not in {OURS, "TFLiteConverter"}]


def _gates(evaluation: Path) -> list[Tool]:
    control = {"samples": str(evaluation), "max_drop": MAX_DROP, "metric": METRIC}
    theirs = Tool(CONTROL, "openvino", lambda work, folder: nncf(work, folder, control=control))
    return [*(_gate(target, evaluation) for target in TARGETS), theirs]


def _gate(target: str, evaluation: Path) -> Tool:
    def make(work: Work, folder: Path) -> Made:
        gate = ["--eval", str(evaluation), "--metric", METRIC, "--max-drop", str(MAX_DROP)]
        return edgekit(work, folder, target, "--precision", "int8", "--calib", str(work.calibration), *gate)

    return Tool(GATE, target, make)


GATE, CONTROL = f"{OURS} --max-drop {MAX_DROP}", f"NNCF accuracy control, max_drop={MAX_DROP}"


def _ours(made: Made) -> Effort:
    (artifact,) = made.answer["artifacts"]
    search = artifact["search"]
    kept = [one["after"] for one in artifact["steps"] if one["pass"] == "accuracy gate"]  # noqa: S105  # a step's name
    return Effort(
        evaluations=len(search["trials"]),
        in_float=tuple(one["name"] for one in artifact["float_layers"]),
        seconds=made.seconds,
        precision=kept[-1]["precision"] if kept else "int8",
        met=artifact["status"] == "ok",
    )


def _theirs(made: Made) -> Effort:
    answer = made.answer
    return Effort(evaluations=answer["evaluations"], in_float=tuple(answer["reverted"]), seconds=made.seconds)


_EFFORTS: Mapping[str, Callable[[Made], Effort]] = {GATE: _ours, CONTROL: _theirs}


def _said(effort: Effort | None) -> str:
    if effort is None:
        return "made"
    floats = f"{len(effort.in_float)} layers in float"
    met = "" if effort.met else ", gate NOT met"
    return f"{effort.evaluations} evaluations, {floats}, {effort.seconds:.1f} s {effort.precision}{met}"
