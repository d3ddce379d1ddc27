"""`edgekit.convert`: a model in, measured artifacts and a report out."""

import shutil
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from edgekit import _data, _metrics
from edgekit._events import Event, OnEvent, ignore
from edgekit._html import to_html
from edgekit._measure import Candidate, Measured, measure
from edgekit._options import ConvertOptions, to_recipe
from edgekit._report import ArtifactReport, Latency, Memory, Report, sha256
from edgekit._staging import Staging
from edgekit.errors import DataError
from edgekit_converters import ConversionRequest, ConversionResult, check_wanted
from edgekit_converters import convert as convert_model
from edgekit_converters.errors import JobCrashedError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays, Artifact

GOLDEN_SAMPLES = 16
SEEDED_SAMPLES = 16
RUNS, WARMUP = 200, 20
SLOWER = 0.97  # below this share of the float model's speed it is no noise


def convert(model: Path, options: ConvertOptions, output: Path, on_event: OnEvent = ignore) -> Report:
    """Convert a model, measure every artifact, and write `output`.

    Writes `models/`, `report.json`, `report.html`, `golden.npz`, `recipe.lock.toml` and `run.log`, all
    or none. An artifact that misses the gate of `max_drop` is kept as `*.rejected`; the caller decides
    what that means.

    Raises:
        ConversionError: if the model cannot be converted.
        DataError: if the data cannot be read or does not fit.
        EnvironmentMissingError: if the output folder cannot be written.
    """
    wanted = check_wanted(options.wanted)
    _metrics.check_metric(options.metric)
    how = options.how_images_are_read
    on_event(Event(stage="data", detail="reading"))
    calibration = None if options.calib in {None, "random"} else _data.load(str(options.calib), how)
    evaluation = _data.load(options.eval, how) if options.eval else None
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
                    through_onnx=options.lane == "onnx",
                    seed=options.seed,
                ),
                jobs,
                on_event,
            )
            on_event(Event(stage="measure", detail=f"{len(result.artifacts)} artifacts"))
            artifacts = _judge(result, options, evaluation, jobs, Path(scratch))
        except JobCrashedError as exc:
            kept = Path(tempfile.mkstemp(prefix="edgekit-run-", suffix=".log")[1])
            shutil.copyfile(jobs.log, kept)
            exc.add_note(f"the whole log is in {kept}")
            raise
        report = Report(
            source=result.source,
            seed=options.seed,
            artifacts=tuple(artifacts),
            data={"calib": options.calib, "eval": options.eval},
            warnings=result.warnings,
            notes=result.notes,
        )
        _write(stage.path, report, options, result)
        stage.commit()
    on_event(Event(stage="done", detail=str(output)))
    return report


def _reference_inputs(evaluation: _data.DataSet | None, calibration: _data.DataSet | None) -> Arrays | None:
    data = evaluation or calibration
    return data.arrays if data else None


def _judge(
    result: ConversionResult,
    options: ConvertOptions,
    evaluation: _data.DataSet | None,
    jobs: JobRunner,
    work: Path,
) -> list[ArtifactReport]:
    measured = _run_all(result, options, jobs, work)
    judged = {
        (artifact.format, artifact.precision): _one(artifact, result, measured, options, evaluation)
        for artifact in result.artifacts
    }
    for failure in result.failures:
        judged[failure.format, failure.precision] = ArtifactReport(
            path=None, format=failure.format, precision=failure.precision, status="failed", reason=str(failure.error)
        )
    return [judged[wanted] for wanted in check_wanted(options.wanted)]


def _run_all(result: ConversionResult, options: ConvertOptions, jobs: JobRunner, work: Path) -> dict[str, Measured]:
    candidates = [
        Candidate(key=f"{one.format}.{one.precision}", path=one.path, threads=options.threads)
        for one in result.artifacts
    ]
    have = {one.key for one in candidates}
    if result.float_tflite and "tflite.fp32" not in have and any(key.startswith("tflite.") for key in have):
        candidates.append(Candidate(key="tflite.fp32", path=result.float_tflite, threads=options.threads))
    measured = measure(
        candidates,
        jobs,
        work,
        inputs=result.layout.to_artifact(result.reference_inputs, result.source.inputs),
        # whole numbers of a source stay such in its artifacts: a quantized source's own are not real values either
        stored=[spec.name for spec in result.source.outputs if spec.dtype.startswith(("int", "uint"))],
        runs=RUNS if options.bench else 0,
        warmup=WARMUP,
        seed=options.seed,
    )
    return {
        key: replace(one, outputs=result.layout.to_source(one.outputs, result.source.outputs)) if one.outputs else one
        for key, one in measured.items()
    }


def _one(
    artifact: Artifact,
    result: ConversionResult,
    measured: dict[str, Measured],
    options: ConvertOptions,
    evaluation: _data.DataSet | None,
) -> ArtifactReport:
    got = measured[f"{artifact.format}.{artifact.precision}"]
    base = measured.get(f"{artifact.format}.fp32")
    report = ArtifactReport(
        path=f"models/{artifact.path.name}",
        format=artifact.format,
        precision=artifact.precision,
        size_bytes=artifact.size_bytes,
        sha256=sha256(artifact.path),
        steps=artifact.steps,
        warnings=artifact.warnings,
    )
    if got.error is not None or got.outputs is None:
        return replace(report, status="failed", reason=got.error or "it gave no outputs")
    try:
        report = replace(
            report,
            agreement=_metrics.agreement(result.reference, got.outputs),
            accuracy=_accuracy(options.metric, evaluation, got.outputs, result.reference),
        )
    except DataError as exc:
        return replace(report, status="failed", reason=str(exc))
    report = replace(report, memory=Memory(peak_bytes=got.peak_rss_bytes))
    if got.runs:
        report = replace(report, latency=_latency(got, base, options.threads))
    return _gated(_with_speed_warning(report), artifact, options)


def _accuracy(
    metric: str, evaluation: _data.DataSet | None, outputs: Arrays, reference: Arrays
) -> _metrics.Accuracy | None:
    labels = evaluation.labels if evaluation else None
    if evaluation is None or (labels is None and _metrics.resolve(metric).against_source is None):
        return None
    return _metrics.accuracy(metric, labels, outputs, reference)


def _latency(got: Measured, base: Measured | None, threads: int) -> Latency:
    before = base.p50_ms if base is not None and base.error is None else None
    return Latency(
        runtime=got.runtime,
        runtime_version=got.version,
        device=",".join(got.executed_on),
        threads=threads,
        runs=got.runs,
        p50_ms=got.p50_ms,
        p90_ms=got.p90_ms,
        p99_ms=got.p99_ms,
        source_p50_ms=before,
        speedup=before / got.p50_ms if before and got.p50_ms else None,
    )


def _with_speed_warning(report: ArtifactReport) -> ArtifactReport:
    latency = report.latency
    if report.precision == "fp32" or latency is None or latency.speedup is None or latency.speedup >= SLOWER:
        return report
    slower = f"slower than float on {latency.runtime}: {latency.p50_ms:.3f} ms against {latency.source_p50_ms:.3f} ms"
    return replace(report, warnings=(*report.warnings, slower))


def _gated(report: ArtifactReport, artifact: Artifact, options: ConvertOptions) -> ArtifactReport:
    drop = report.accuracy.drop if report.accuracy else None
    if options.max_drop is None or drop is None or drop <= options.max_drop:
        return report
    for file in artifact.files:
        file.rename(file.with_name(file.name + ".rejected"))
    reason = f"{options.metric} drops by {drop:.4f}, more than {options.max_drop:.4f}"
    return replace(report, status="rejected", reason=reason, path=f"{report.path}.rejected")


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
