"""Which step of a compression a loss is owed to, as a rejection names it."""

import itertools
from pathlib import Path

import pytest

from edgekit._metrics import Accuracy
from edgekit._report import ArtifactReport, CompressionStep, Report, StepFigures
from edgekit.cli._steps import blamed
from edgekit_converters.model import SourceModel


def _accuracy(drop: float | None) -> Accuracy:
    return Accuracy(metric="top1", samples=100, source=0.9, artifact=0.5, drop=drop, ci95=(0.4, 0.6))


def _blamed(drops: list[float | None], artifact: float) -> str | None:
    """Return what is said of an artifact with that drop behind states with those drops."""
    states = [StepFigures(parameters=1, macs=1, nodes=1, accuracy=_accuracy(drop)) for drop in drops]
    steps = tuple(
        CompressionStep(technique="snap", text=f"snap:bits={place}", exact=False, before=before, after=after)
        for place, (before, after) in enumerate(itertools.pairwise(states))
    )
    source = SourceModel(path=Path("n.onnx"), format="onnx", sha256="", size_bytes=1, inputs=(), outputs=())
    made = ArtifactReport(path=None, format="tflite", precision="int8", accuracy=_accuracy(artifact))
    return blamed(Report(source=source, seed=0, artifacts=(made,), compression=steps, environment={}), made)


def test_the_step_that_lost_most_is_named_with_its_figure() -> None:
    said = _blamed([0.0, 0.01, 0.05, 0.06], 0.06)
    assert said is not None
    assert said.startswith("most is lost by the step snap:bits=1 (4.00%): give it a weaker option")


@pytest.mark.parametrize(
    ("drops", "artifact"),
    [([], 0.1), ([0.0, 0.0], 0.1), ([0.02, 0.01], 0.01), ([0.0, 0.02], 0.05), ([None, None], 0.1)],
    ids=["no steps", "nothing lost", "a step that gained", "more lost by the precision", "not scored"],
)
def test_no_step_is_named_that_is_not_to_blame(drops: list[float | None], artifact: float) -> None:
    assert _blamed(drops, artifact) is None
