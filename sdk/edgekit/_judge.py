"""What artifacts of one conversion are worth: their outputs beside the source's, scored and timed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit import _metrics
from edgekit._data import DataSet
from edgekit._layers import damages
from edgekit._measure import Candidate, Measured, measure
from edgekit._options import ConvertOptions
from edgekit._report import SLOWER, ArtifactReport, Latency, Memory, sha256
from edgekit.errors import DataError
from edgekit_converters import ConversionResult
from edgekit_converters.errors import ConversionError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays, Artifact
from edgekit_converters.timing import Stopwatch

RUNS, WARMUP = 200, 20
TRIAL_RUNS, TRIAL_S = 2000, 10.0
"""Of a measurement that decides: small models are timed longer, so that a burst of other work does not."""
LOOK_S = 10.0
"""Seconds to follow the layers of one artifact to the outputs, for the report."""
ROUNDING = 1e-9  # of a difference of two shares
FLOATS = frozenset({"fp32", "fp16"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Judge:
    """Runs artifacts on the reference inputs of a conversion and scores them on the evaluation data, if any."""

    result: ConversionResult
    options: ConvertOptions
    evaluation: DataSet | None
    work: Path
    jobs: JobRunner = field(repr=False)

    def run(self, artifacts: Sequence[Artifact], *, runs: int = 0) -> dict[tuple[str, str], Measured]:
        """Return what each gives, by format and precision; timed in turns, with the float model of each format."""
        candidates = {(one.format, one.precision): one.path for one in artifacts}
        for form in dict.fromkeys(one.format for one in artifacts) if runs else ():
            if (form, "fp32") not in candidates:
                candidates[form, "fp32"] = self.result.workshop.float_file(form)
        names = {str(place): key for place, key in enumerate(candidates)}
        found = self.measure({name: candidates[key] for name, key in names.items()}, runs=runs)
        return {names[name]: one for name, one in found.items()}

    def measure(self, paths: Mapping[str, Path], *, runs: int = 0) -> dict[str, Measured]:
        """Return what files of this model give, by the names given them; timed in turns."""
        source, layout = self.result.source, self.result.layout
        measured = measure(
            [Candidate(key=name, path=path, threads=self.options.threads) for name, path in paths.items()],
            self.jobs,
            self.work,
            inputs=layout.to_artifact(self.result.reference_inputs, source.inputs),
            # whole numbers of a source stay such in its artifacts: a quantized source's own are not real values either
            stored=[spec.name for spec in source.outputs if spec.dtype.startswith(("int", "uint"))],
            runs=runs,
            warmup=WARMUP,
            seed=self.options.seed,
        )
        return {
            name: replace(one, outputs=layout.to_source(one.outputs, source.outputs)) if one.outputs else one
            for name, one in measured.items()
        }

    def accuracy(self, outputs: Arrays) -> _metrics.Accuracy | None:
        """Score outputs by the metric; None where there is nothing to score by.

        Raises:
            DataError: if outputs or labels do not fit the metric.
        """
        if not self.scored:
            return None
        labels = self.evaluation.labels if self.evaluation else None
        return _metrics.accuracy(self.options.metric, labels, outputs, self.result.reference)

    def drop(self, outputs: Arrays) -> tuple[float, float]:
        """Return the score of outputs and by how much it is worse than the source's: what a trial needs to know.

        Raises:
            DataError: as `accuracy` does.
        """
        metric, labels = self.options.metric, self.evaluation.labels if self.evaluation else None
        reference = self.result.reference
        got, before = (_metrics.score(metric, labels, one, reference) for one in (outputs, reference))
        return got, before - got if _metrics.resolve(metric).higher_is_better else got - before

    @property
    def scored(self) -> bool:
        """Whether there is anything to score by."""
        return can_score(self.options.metric, self.evaluation)

    def passes(self, accuracy: _metrics.Accuracy | None) -> bool:
        """Whether a score keeps within what may be lost; always where nothing was said."""
        drop = accuracy.drop if accuracy else None
        return drop is None or self.allows(drop)

    def allows(self, drop: float) -> bool:
        """Whether so much may be lost; anything where nothing was said."""
        limit = self.options.limit
        return limit is None or drop <= limit + ROUNDING

    def report(self, artifact: Artifact, measured: Mapping[tuple[str, str], Measured]) -> ArtifactReport:
        """Return everything that is known of an artifact."""
        got = measured[artifact.format, artifact.precision]
        report = ArtifactReport(
            path=f"models/{artifact.path.name}",
            format=artifact.format,
            precision=artifact.precision,
            size_bytes=artifact.size_bytes,
            weights_bytes=artifact.weights_bytes,
            sha256=sha256(artifact.path),
            steps=artifact.steps,
            warnings=artifact.warnings,
            float_layers=tuple({"name": name, "reason": "asked for"} for name in artifact.float_layers),
        )
        if got.error is not None or got.outputs is None:
            return replace(report, status="failed", reason=got.error or "it gave no outputs")
        try:
            report = replace(
                report,
                agreement=_metrics.agreement(self.result.reference, got.outputs),
                accuracy=self.accuracy(got.outputs),
            )
        except DataError as exc:
            return replace(report, status="failed", reason=str(exc))
        report = replace(
            report,
            memory=Memory(peak_bytes=got.peak_rss_bytes),
            inputs=got.takes,
            outputs=got.gives,
        )
        if got.runs:
            base = measured.get((artifact.format, "fp32"))
            report = replace(report, latency=_latency(got, base, self.options.threads))
        return self._with_layers(_with_speed_warning(self._with_loss(report)), artifact)

    def _with_loss(self, report: ArtifactReport) -> ArtifactReport:
        """Say of a loss that nobody set a limit to, if it is more than chance."""
        got = report.accuracy
        if self.options.limit is not None or got is None or not got.drop or not got.drop_ci95 or got.drop_ci95[0] <= 0:
            return report
        text = f"{got.metric} drops by {_metrics.shown(got.metric, got.drop)}, and not by chance"
        if report.steps:
            text += ", its steps counted: the report says what each costs"
        elif report.precision not in FLOATS:
            text += ": --max-drop mends it"
        return replace(report, warnings=(*report.warnings, text))

    def _with_layers(self, report: ArtifactReport, artifact: Artifact) -> ArtifactReport:
        if artifact.precision in FLOATS:
            return report
        try:
            found = damages(self.result, artifact, self.jobs, self.work, LOOK_S)
        except ConversionError as exc:  # what cannot be compared layer by layer is none the worse for it
            return replace(report, warnings=(*report.warnings, f"its layers could not be looked at: {exc}"))
        return replace(report, layers=tuple(one.damage for one in found))


def stopwatch(options: ConvertOptions, work: Path, jobs: JobRunner) -> Stopwatch:
    """Return what times artifacts in turns: the median of each one's times, in milliseconds.

    It raises AgentError where an artifact cannot be run.
    """

    def times(files: Mapping[str, Path], inputs: Arrays) -> dict[str, float]:
        candidates = [Candidate(key=name, path=path, threads=options.threads) for name, path in files.items()]
        measured = measure(
            candidates,
            jobs,
            work,
            inputs=inputs,
            keep_outputs=False,
            runs=TRIAL_RUNS,
            warmup=WARMUP,
            limit_s=TRIAL_S,
            seed=options.seed,
        )
        for one in measured.values():
            if one.error is not None:
                raise one.failure()
        return {name: one.p50_ms for name, one in measured.items()}

    return times


def can_score(metric: str, evaluation: DataSet | None) -> bool:
    """Whether there is anything to score by: labels, or a metric that compares with the source's outputs."""
    if evaluation is None:
        return False
    return evaluation.labels is not None or _metrics.resolve(metric).against_source is not None


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
        quantiles_ms=got.quantiles_ms,
        source_p50_ms=before,
        speedup=before / got.p50_ms if before and got.p50_ms else None,
    )


def is_slower(report: ArtifactReport) -> bool:
    """Whether an artifact is slower than its float form where it was measured; another engine's form never counts."""
    latency = report.latency
    if report.precision == "fp32" or "for=" in report.precision or latency is None or latency.speedup is None:
        return False
    return latency.speedup < SLOWER


def _with_speed_warning(report: ArtifactReport) -> ArtifactReport:
    latency = report.latency
    if latency is None or not is_slower(report):
        return report
    slower = f"slower than float on {latency.runtime}: {latency.p50_ms:.3f} ms against {latency.source_p50_ms:.3f} ms"
    return replace(report, warnings=(*report.warnings, slower))
