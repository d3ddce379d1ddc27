"""`edgekit.evaluate`: score a model on labelled data, fed as the run that made it fed it."""

import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import _data, _grid, _metrics, _travelled
from edgekit._data_checks import check_evaluation
from edgekit._events import Event, OnEvent, ignore
from edgekit._measure import Candidate, Measured, measure
from edgekit._options import ConvertOptions
from edgekit._report import SCHEMA, Rim, plain
from edgekit.errors import DataError
from edgekit_converters import reference
from edgekit_converters.data import ONLY
from edgekit_converters.grids import parse_grid
from edgekit_converters.grids.snapping import GridFigures
from edgekit_converters.jobs import JobRunner

METRIC = "top1"
RUNS = 200
ARTIFACTS = frozenset({".tflite", ".xml", ".onnx"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The accuracy of a model; `measured` is there for artifacts, which are run by the agent's runtimes.

    `report` is the `report.json` that settings were taken from, if any were: `preprocess` or the metric.
    """

    model: str
    data: str
    accuracy: _metrics.Accuracy
    measured: Measured | None
    simulated: GridFigures | None = None
    """What a grid for the weights does to them, where one was asked for."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    report: str | None = None
    warnings: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        got = self.measured
        document = {
            "schema": SCHEMA,
            "model": self.model,
            "data": self.data,
            "accuracy": asdict(self.accuracy),
            "preprocess": dict(self.preprocess),
            "report": self.report,
            "inputs": [] if got is None else [asdict(one) for one in got.takes],
            "outputs": [] if got is None else [asdict(one) for one in got.gives],
            "latency": None if got is None else got.figures(),
            "simulated": None if self.simulated is None else asdict(self.simulated),
            "warnings": list(self.warnings),
        }
        return {key: plain(value) for key, value in document.items()}

    def __str__(self) -> str:
        """Return the score as one line."""
        got = self.accuracy
        value, low, high = (_metrics.shown(got.metric, one) for one in (got.artifact, *got.ci95))
        line = f"{got.metric} {value} (95 % interval {low} to {high}, {got.samples} samples)"
        if self.measured is not None:
            line += f", p50 {self.measured.p50_ms:.3f} ms on {self.measured.runtime} {self.measured.version}"
        if self.simulated is not None and got.source is not None:
            line += f", {_metrics.shown(got.metric, got.source)} in float\n{_grid.said(self.simulated)}"
        return line


def evaluate(  # noqa: PLR0913  # what a score is made of
    model: Path,
    data: str,
    *,
    metric: str | None = None,
    preprocess: Mapping[str, Any] | None = None,
    runtime: str = "auto",
    threads: int = 1,
    weights_grid: str | None = None,
    on_event: OnEvent = ignore,
) -> Score:
    """Run a model on every sample of the data and score its outputs.

    A quantized model is given real values in its own scale and zero point, and its outputs are real values again;
    data of the input's own whole numbers is taken as it is.

    Args:
        model: an artifact or a source model.
        data: see `edgekit._data.load`.
        metric: None takes that of the report beside the model (`DIR/report.json` of `DIR/models/MODEL`), else top1.
        preprocess: None takes that of the report, else nothing.
        runtime: of an artifact.
        threads: of one inference.
        weights_grid: `kmeans:bits=4` and so on: the source model's weights as this grid has them, run in float.
        on_event: told what is done.

    Raises:
        DataError: if the data has no labels, cannot be read, holds NaN or does not fit.
        ModelError: if the artifact cannot be run.
        ConversionError: if the source model cannot be read, or there is no such grid.
    """
    if weights_grid is not None:
        parse_grid(weights_grid)
    travelled = _travelled.beside(model) if metric is None or preprocess is None else _travelled.Travelled()
    metric = _metrics.check_metric(metric or travelled.metric or METRIC)
    used = travelled.preprocess if preprocess is None else preprocess
    how = ConvertOptions(preprocess=used).how_images_are_read
    loaded = _data.load(data, how)
    if loaded.labels is None:
        error = DataError(f"data '{data}' has no labels: {metric} needs {_metrics.resolve(metric).labels}")
        error.add_note("in an .npz or .csv they are called 'y', in a folder of images sub-folders are classes")
        raise error
    warnings = check_evaluation(loaded, how)
    on_event(Event(stage="evaluate", detail=f"{len(loaded)} samples"))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        work = Path(scratch)
        jobs = JobRunner(log=work / "run.log")
        got = sim = None
        if weights_grid is not None:
            sim = _grid.simulated(model, weights_grid, loaded.arrays, jobs, work)
            outputs = sim.outputs
        elif model.suffix.lower() in ARTIFACTS:
            got = _run_artifact(Candidate(key="0", path=model, runtime=runtime, threads=threads), loaded, jobs, work)
            outputs = got.outputs or {}
        else:
            outputs = reference(model, loaded.arrays, jobs, work)
    limits = _limits(got.takes if got else (), loaded)
    return Score(
        model=str(model),
        data=data,
        accuracy=_metrics.accuracy(metric, loaded.labels, outputs, sim.source if sim else None),
        measured=got,
        simulated=sim.figures if sim else None,
        preprocess=used,
        report=str(travelled.report) if travelled.report else None,
        warnings=check_evaluation(loaded, how, limits) if limits else warnings,
    )


def _limits(takes: tuple[Rim, ...], data: _data.DataSet) -> dict[str, tuple[float, float]]:
    """Return the real values that quantized inputs can hold, by the data's names, where the data is real."""
    limits = {}
    for rim in takes:
        name = ONLY if set(data.arrays) == {ONLY} else rim.name
        if len(rim.scale) == 1 and name in data.arrays and data.arrays[name].dtype.kind == "f":
            whole = np.iinfo(rim.dtype)
            low, high = ((end - rim.zero_point[0]) * rim.scale[0] for end in (whole.min, whole.max))
            limits[name] = (float(low), float(high))
    return limits


def _run_artifact(candidate: Candidate, data: _data.DataSet, jobs: JobRunner, work: Path) -> Measured:
    got = measure([candidate], jobs, work, inputs=data.arrays, runs=RUNS)[candidate.key]
    if got.error is not None:
        raise got.failure()
    return got
