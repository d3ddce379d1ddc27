"""`edgekit.evaluate`: score a model on labelled data."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from edgekit import _data, _metrics
from edgekit._events import Event, OnEvent, ignore
from edgekit._measure import Candidate, Measured, measure
from edgekit._options import ConvertOptions
from edgekit._report import SCHEMA
from edgekit.errors import DataError
from edgekit_converters import reference
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays

RUNS = 200
ARTIFACTS = frozenset({".tflite", ".xml"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The accuracy of a model; `measured` is there for artifacts, which are run by the agent's runtimes."""

    model: str
    data: str
    accuracy: _metrics.Accuracy
    measured: Measured | None

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        latency = None
        if self.measured is not None:
            latency = {
                key: value
                for key, value in asdict(self.measured).items()
                if key not in {"outputs", "error", "error_kind"}
            }
        return {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data,
            "accuracy": asdict(self.accuracy),
            "latency": latency,
        }

    def __str__(self) -> str:
        """Return the score as one line."""
        score = self.accuracy
        low, high = score.ci95
        line = f"{score.metric} {score.artifact:.2%} (95 % interval {low:.2%} to {high:.2%}, {score.samples} samples)"
        if self.measured is not None:
            line += f", p50 {self.measured.p50_ms:.3f} ms on {self.measured.runtime} {self.measured.version}"
        return line


def evaluate(  # noqa: PLR0913  # what a score is made of
    model: Path,
    data: str,
    *,
    metric: str = "top1",
    preprocess: Mapping[str, Any] | None = None,
    runtime: str = "auto",
    threads: int = 1,
    on_event: OnEvent = ignore,
) -> Score:
    """Run a model on every sample of the data and score its outputs.

    Raises:
        DataError: if the data has no labels, cannot be read or does not fit.
        ModelError: if the artifact cannot be run.
        ConversionError: if the source model cannot be read.
    """
    _metrics.check_metric(metric)
    loaded = _data.load(data, ConvertOptions(preprocess=preprocess or {}).how_images_are_read)
    if loaded.labels is None:
        raise DataError(f"data '{data}' has no labels: an .npz needs '{_data.LABELS}', an image folder sub-folders")
    on_event(Event(stage="evaluate", detail=f"{len(loaded)} samples"))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        work = Path(scratch)
        jobs = JobRunner(log=work / "run.log")
        if model.suffix.lower() in ARTIFACTS:
            got = _run_artifact(Candidate(key="0", path=model, runtime=runtime, threads=threads), loaded, jobs, work)
            outputs: Arrays = got.outputs or {}
        else:
            got, outputs = None, reference(model, loaded.arrays, jobs, work)
    accuracy = _metrics.accuracy(metric, loaded.labels, outputs)
    return Score(model=str(model), data=data, accuracy=accuracy, measured=got)


def _run_artifact(candidate: Candidate, data: _data.DataSet, jobs: JobRunner, work: Path) -> Measured:
    got = measure([candidate], jobs, work, inputs=data.arrays, runs=RUNS)[candidate.key]
    if got.error is not None:
        raise got.failure()
    return got
