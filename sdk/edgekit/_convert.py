"""`edgekit.convert`: a model in, measured artifacts and a report out."""

import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import _data, _metrics
from edgekit._compression import states_of
from edgekit._convert_bundles import path_of, write_bundles
from edgekit._data_checks import check_calibration, check_evaluation
from edgekit._events import Event, OnEvent, ignore
from edgekit._gate import Gate, Passed
from edgekit._html import to_html
from edgekit._judge import FLOATS, RUNS, Judge, can_score, is_slower, stopwatch
from edgekit._ledger import Ledger, digest
from edgekit._metrics import half_width, resolve, shown
from edgekit._options import ConvertOptions
from edgekit._recipe import to_recipe
from edgekit._report import ArtifactReport, Report, environment
from edgekit._staging import Staging
from edgekit.errors import DataError, UsageError
from edgekit_agent.preprocess import Preprocess
from edgekit_converters import ConversionRequest, ConversionResult, check_wanted
from edgekit_converters import convert as convert_model
from edgekit_converters.compress.steps import parse_steps
from edgekit_converters.errors import JobCrashedError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays, Artifact

MANY = 1000
"""Of so many samples on, nothing is said about how few they are."""
REJECTED = ".rejected"
GOLDEN_SAMPLES = 16
SEEDED_SAMPLES = 16


def convert(model: Path, options: ConvertOptions, output: Path, on_event: OnEvent = ignore) -> Report:
    """Convert a model, measure every artifact, and write `output`.

    Writes `models/`, `report.json`, `report.html`, `golden.npz`, `recipe.lock.toml`, `run.log` and, where a version for
    them is given, `bundles/`, all or none. An artifact that misses the gate of `max_drop` is kept as `*.rejected`; the
    caller decides what that means.

    Raises:
        ConversionError: if the model cannot be converted.
        DataError: if the data cannot be read or does not fit.
        AgentError: if an artifact gets no bundle; everything else is written.
        EnvironmentMissingError: if the output folder cannot be written.
    """
    wanted = check_wanted(options.wanted)
    _metrics.check_metric(options.metric)
    if options.max_drop is not None and options.max_drop > 1 and resolve(options.metric).percent:
        raise UsageError(f"max-drop {options.max_drop} is not between 0 and 1 (0.005 is half a point)")
    how = options.how_images_are_read
    on_event(Event(stage="data", detail="reading"))
    calibration = None if options.calib in {None, "random"} else _data.load(str(options.calib), how)
    evaluation = _data.load(options.eval, how) if options.eval else None
    if options.limit is not None and not can_score(options.metric, evaluation):
        raise DataError(f"data '{options.eval}' has no labels: {options.metric} needs {resolve(options.metric).labels}")
    suspicions = _suspicions(calibration, evaluation, how)
    training = _beside(output, "training")  # a folder of checkpoints, if a step trains
    with Staging(output) as stage, tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        jobs = JobRunner(log=stage.path / "run.log")
        try:
            result = convert_model(
                ConversionRequest(
                    model=model,
                    wanted=wanted,
                    output=stage.path / "models",
                    work=Path(scratch),
                    calibration=calibration.arrays if calibration else None,
                    random_calibration=options.calib == "random",
                    reference_inputs=_reference_inputs(evaluation, calibration),
                    reference_samples=SEEDED_SAMPLES,
                    layout=options.io_layout,
                    shapes=options.shapes,
                    constants=options.constants,
                    compress=parse_steps(options.compress),
                    labels=calibration.labels if calibration else None,
                    kept=training,
                    float_layers=options.float_layers,
                    quantized_io=options.io_dtype == "quantized",
                    through_onnx=options.lane == "onnx",
                    seed=options.seed,
                    stopwatch=stopwatch(options, Path(scratch), jobs) if options.bench else None,
                ),
                jobs,
                on_event,
            )
            options = _as_carried_out(options, result)
            judge = Judge(
                result=result,
                options=options,
                evaluation=evaluation,
                work=Path(scratch),
                jobs=jobs,
            )
            trials = _ledger(output, result, options, (calibration, evaluation))
            if trials.resumed:
                on_event(Event(stage="gate", detail=f"resumed: {trials.resumed} trials are made already"))
            artifacts = _judge(judge, trials, Path(scratch), on_event)
            compression = states_of(judge, result.compressed, on_event) if result.compressed else ()
        except JobCrashedError as exc:
            kept = Path(tempfile.mkstemp(prefix="edgekit-run-", suffix=".log")[1])
            shutil.copyfile(jobs.log, kept)
            exc.add_note(f"the whole log is in {kept}")
            raise
        report = Report(
            source=result.source,
            seed=options.seed,
            artifacts=tuple(artifacts),
            data=_data_of(options, (evaluation, calibration)),
            compression=compression,
            preprocess=dict(options.preprocess),
            warnings=(*suspicions, *_too_few(artifacts, options), *result.warnings),
            notes=result.notes,
        )
        _write(stage.path, report, options, result)
        bundles = write_bundles(stage.path, artifacts, judge) if options.bundle else []
        stage.commit(replaced=(*_other_verdicts(artifacts), *_old_bundles(artifacts, stage.path)))
        if all(one.search is None or one.search.ended != "budget" for one in artifacts):
            trials.close()
    shutil.rmtree(training, ignore_errors=True)
    if bundles:
        raise bundles[0]
    on_event(Event(stage="done", detail=str(output)))
    return report


def compress(
    model: Path, steps: Sequence[str], output: Path, options: ConvertOptions | None = None, on_event: OnEvent = ignore
) -> Report:
    """Change a model's graph step by step, and write it in float with what every step did; see `convert`.

    Args:
        model: as `convert` takes it.
        steps: in this order, such as `prune-channels:macs=0.5` (docs/reference/techniques.md).
        output: the folder to write.
        options: targets, data and gate; its own steps and precisions do not count.
        on_event: called as stages begin.

    Raises:
        PrecisionError: if a step names no technique, or an option or value it does not have.
        ConversionError: if the model cannot be converted, or a step cannot be done to it.
        DataError: if the data cannot be read or does not fit.
        EnvironmentMissingError: if the output folder cannot be written.
    """
    if not steps:
        raise UsageError("there is nothing to do: give at least one step, such as 'fuse'")
    asked = replace(options or ConvertOptions(), compress=tuple(steps), precisions=("fp32",))
    return convert(model, asked, output, on_event)


def _as_carried_out(options: ConvertOptions, result: ConversionResult) -> ConvertOptions:
    """Return the options with the steps as they were: what was measured to find them stands in them."""
    made = result.compressed
    return replace(options, compress=tuple(one.step.text for one in made.stages)) if made else options


def _suspicions(
    calibration: _data.DataSet | None, evaluation: _data.DataSet | None, how: Preprocess | None
) -> tuple[str, ...]:
    """Return what looks wrong about the data.

    Raises:
        DataError: if it cannot give a result.
    """
    if calibration is not None:
        return check_calibration(calibration, evaluation, how)
    return check_evaluation(evaluation, how) if evaluation is not None else ()


def _data_of(options: ConvertOptions, data: Sequence[_data.DataSet | None]) -> dict[str, Any]:
    """Return what the report says of the data; `classes` where they have names."""
    said = {"calib": options.calib, "eval": options.eval, "metric": options.metric, "max_drop": options.limit}
    named = next((one.classes for one in data if one is not None and one.classes), ())
    return {**said, "classes": list(named)} if named else said


def _too_few(artifacts: Sequence[ArtifactReport], options: ConvertOptions) -> tuple[str, ...]:
    """Say when the gate is finer than what so few samples can show."""
    known = [one.accuracy for one in artifacts if one.accuracy is not None]
    if options.limit is None or not known or known[0].samples >= MANY:
        return ()
    half = max(map(half_width, known))
    if half <= options.limit:
        return ()
    shown_half, shown_limit = (shown(options.metric, one) for one in (half, options.limit))
    samples = f"with {known[0].samples} samples the 95 % interval is {shown_half} to each side"
    return (f"{samples}: drops around the allowed {shown_limit} may be chance",)


def _ledger(
    output: Path, result: ConversionResult, options: ConvertOptions, data: Sequence[_data.DataSet | None]
) -> Ledger:
    run: dict[str, Any] = {
        "source": result.source.sha256,
        "options": to_recipe(replace(options, max_drop=None, time_budget=None, bundle=None)),
        "data": [digest({**one.arrays, **(one.labels or {})}) for one in data if one is not None],
        "packages": environment()["packages"],
    }
    return Ledger(_beside(output, "search.jsonl"), run)


def _beside(output: Path, what: str) -> Path:
    """Return where a run that is stopped leaves what the next one goes on from."""
    place = output.resolve()  # `.` has no name
    return place.with_name(f".{place.name}.{what}")


def _reference_inputs(evaluation: _data.DataSet | None, calibration: _data.DataSet | None) -> Arrays | None:
    data = evaluation or calibration
    return data.arrays if data else None


def _judge(judge: Judge, ledger: Ledger, work: Path, on_event: OnEvent) -> list[ArtifactReport]:
    """Take the artifacts through the gate, measure those that are left, and say what is known of each."""
    result, options = judge.result, judge.options
    artifacts, passed = list(result.artifacts), {}
    if options.limit is not None:
        gate = Gate(judge=judge, ledger=ledger, seconds=options.time_budget, work=work, on_event=on_event)
        for place, artifact in enumerate(artifacts):
            if artifact.precision in FLOATS:
                continue  # there is nothing to leave in float
            one = gate.through(artifact)
            artifacts[place] = one.artifact
            passed[artifact.format, artifact.precision] = one
    on_event(Event(stage="measure", detail=f"{len(artifacts)} artifacts"))
    measured = judge.run(artifacts, runs=RUNS if options.bench else 0)
    judged = {}
    for artifact in artifacts:
        on_event(Event(stage="layers", detail=f"{artifact.format} {artifact.precision}"))
        key = (artifact.format, artifact.precision)
        judged[key] = _gated(judge.report(artifact, measured), artifact, judge, passed.get(key))
    for failure in result.failures:
        judged[failure.format, failure.precision] = ArtifactReport(
            path=None, format=failure.format, precision=failure.precision, status="failed", reason=str(failure.error)
        )
    return _with_choice([judged[wanted] for wanted in check_wanted(options.wanted)], options)


def _gated(report: ArtifactReport, artifact: Artifact, judge: Judge, passed: Passed | None) -> ArtifactReport:
    if passed is not None:
        floats = tuple(
            {**one, "reason": "the accuracy gate"} if one["name"] in passed.found else one
            for one in report.float_layers
        )
        report = replace(report, search=passed.search, float_layers=floats)
    if report.status == "failed" or judge.passes(report.accuracy):
        return report
    for file in artifact.files:
        file.rename(file.with_name(file.name + REJECTED))
    accuracy, limit = report.accuracy, judge.options.limit
    reason = None
    if accuracy is not None and accuracy.drop is not None and limit is not None:
        drop, allowed = (shown(judge.options.metric, one) for one in (accuracy.drop, limit))
        reason = f"{judge.options.metric} drops by {drop}, more than {allowed}"
    return replace(report, status="rejected", reason=reason, path=f"{report.path}{REJECTED}")


def _other_verdicts(artifacts: Sequence[ArtifactReport]) -> list[str]:
    """Return where an earlier run that came to the other verdict left its files: they are no results any more."""
    paths = [one.path for one in artifacts if one.path]
    files = [file for path in paths for file in (path, *([path.replace(".xml", ".bin")] if ".xml" in path else ()))]
    return [file.removesuffix(REJECTED) if file.endswith(REJECTED) else f"{file}{REJECTED}" for file in files]


def _old_bundles(artifacts: Sequence[ArtifactReport], folder: Path) -> list[str]:
    """Return where an earlier run left bundles of artifacts that are others now, or are none any more."""
    paths = [path_of(replace(one, path=one.path.removesuffix(REJECTED))) for one in artifacts if one.path]
    return [path for path in paths if path is not None and not (folder / path).exists()]


def _with_choice(reports: list[ArtifactReport], options: ConvertOptions) -> list[ArtifactReport]:
    """Mark the fastest of each format that passes and is not slower than its float form."""
    if not options.auto:
        return reports
    usable = [one for one in reports if one.status == "ok" and not is_slower(one)]
    best = {}
    for form in dict.fromkeys(one.format for one in usable):
        mine = [one for one in usable if one.format == form]
        best[form] = min(mine, key=lambda one: (one.latency.p50_ms if one.latency else 0.0, one.size_bytes or 0))
    return [replace(one, chosen=best.get(one.format) is one) for one in reports]


def _write(folder: Path, report: Report, options: ConvertOptions, result: ConversionResult) -> None:
    (folder / "report.json").write_text(report.to_text())
    (folder / "report.html").write_text(to_html(report))
    golden = {f"input.{name}": array[:GOLDEN_SAMPLES] for name, array in result.reference_inputs.items()}
    golden |= {f"output.{name}": array[:GOLDEN_SAMPLES] for name, array in result.reference.items()}
    np.savez(folder / "golden.npz", **golden)  # type: ignore[arg-type]  # names are the arrays' own
    facts = {
        "edgekit": report.to_json()["edgekit"],
        "model": str(result.source.path),
        "sha256": result.source.sha256,
        "packages": report.environment["packages"],
    }
    (folder / "recipe.lock.toml").write_text(to_recipe(options, **facts))
