"""What every step of a compression did: to accuracy, latency and size, measured side by side in one run."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from edgekit._events import Event, OnEvent
from edgekit._judge import RUNS, Judge
from edgekit._report import CompressionStep, StepFigures
from edgekit.errors import DataError
from edgekit_converters.backends.base import Failure
from edgekit_converters.compress.base import Figures
from edgekit_converters.compress.engine import Compressed
from edgekit_converters.errors import ConversionError
from edgekit_converters.model import Artifact


@dataclass(frozen=True, slots=True, kw_only=True)
class _Point:
    """The model before the first step or behind one, in float, in every format."""

    artifacts: dict[str, Artifact]
    figures: Figures


def states_of(judge: Judge, made: Compressed, on_event: OnEvent) -> tuple[CompressionStep, ...]:
    """Return the steps with what the model was before and after each.

    Every state of the model is made in float for every target, scored, and timed in turns with all others.
    """
    files = [made.before, *(one.path for one in made.stages)]
    figures = [made.stages[0].before, *(one.after for one in made.stages)]
    names = ["as it came", *(one.step.text for one in made.stages)]
    points = []
    for place, (file, known, name) in enumerate(zip(files, figures, names, strict=True)):
        on_event(Event(stage="compress", detail=name, done=place, total=len(files)))
        points.append(_Point(artifacts=_floats(judge, made, file, judge.work / f"state-{place}"), figures=known))
    states = _measured(judge, points)
    return tuple(
        CompressionStep(
            technique=stage.step.technique,
            text=stage.step.text,
            exact=stage.exact,
            before=states[place],
            after=states[place + 1],
            changes=stage.effect.changes,
            left=stage.effect.left,
            figures=stage.effect.figures,
            seconds=stage.seconds,
        )
        for place, stage in enumerate(made.stages)
    )


def _floats(judge: Judge, made: Compressed, file: Path, work: Path) -> dict[str, Artifact]:
    """Return the float forms of an ONNX file, those that can be had."""
    targets = list(dict.fromkeys(target for target, _ in judge.options.wanted))
    shop = judge.result.workshop  # it is of the last state
    try:
        shop = replace(shop, output=work) if file == made.path else shop.of(file, work)
    except ConversionError:
        return {}
    return {target: one for target, one in shop.floats(targets).items() if not isinstance(one, Failure)}


def _measured(judge: Judge, points: Sequence[_Point]) -> list[StepFigures]:
    paths = {
        f"{place}-{target}": one.path for place, point in enumerate(points) for target, one in point.artifacts.items()
    }
    runs = judge.measure(paths, runs=RUNS if judge.options.bench else 0)
    states = []
    for place, point in enumerate(points):
        got = {target: runs[f"{place}-{target}"] for target in point.artifacts}
        accuracy = None
        for one in got.values():
            if one.outputs is None:
                continue
            try:
                accuracy = judge.accuracy(one.outputs)
            except DataError:
                continue
            break
        states.append(
            StepFigures(
                parameters=int(point.figures["parameters"] or 0),
                macs=int(point.figures["macs"] or 0),
                nodes=int(point.figures["nodes"] or 0),
                bytes={target: one.size_bytes for target, one in point.artifacts.items()},
                p50_ms={target: one.p50_ms for target, one in got.items() if one.runs},
                peak_bytes={target: one.peak_rss_bytes for target, one in got.items() if one.peak_rss_bytes},
                accuracy=accuracy,
            )
        )
    return states
