"""`edgekit.bench`: latency of artifacts on this machine's runtimes."""

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit._events import Event, OnEvent, ignore
from edgekit._measure import Candidate, Measured, measure
from edgekit._report import SCHEMA, environment
from edgekit_agent.errors import ModelError
from edgekit_converters.jobs import JobRunner


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchRow:
    """One model on one runtime; `against_first` is the first row's p50 divided by this one's."""

    model: str
    threads: int
    measured: Measured
    against_first: float | None

    def to_json(self) -> dict[str, object]:
        """Return the row as JSON values."""
        figures = self.measured.figures()
        return {
            "model": self.model,
            "kind": "measured",
            "threads": self.threads,
            "speedup": self.against_first,
            **figures,
        }

    def cells(self) -> tuple[str, ...]:
        """Return the row as a table shows it."""
        got = self.measured
        if got.error is not None:
            return (self.model, "failed", "", "", "", "", "", "", "")
        times = (got.p50_ms, got.p90_ms, got.p99_ms, got.min_ms, got.load_ms)
        ratio = "" if self.against_first is None else f"{self.against_first:.2f}x"
        name = f"{got.runtime} {got.version}"
        return (self.model, name, ",".join(got.executed_on), *(f"{time:.3f}" for time in times), ratio)

    def stream_cells(self) -> list[tuple[str, ...]]:
        """Return a row for one stream and one for several, as a table shows them; none where only one was run."""
        got = self.measured
        alone = got.throughput[0]["per_second"] if got.throughput else 0.0
        return [
            (
                self.model,
                f"{got.runtime} {got.version}",
                f"{one['streams']:g}",
                f"{one['per_second']:.1f}",
                *(f"{one[f'{quantile}_ms']:.3f}" for quantile in ("p50", "p90", "p99")),
                f"{one['per_second'] / alone:.2f}x" if alone else "",
            )
            for one in got.throughput
        ]


@dataclass(frozen=True, slots=True, kw_only=True)
class BenchResult:
    """All rows of a run, in the order asked for."""

    rows: tuple[BenchRow, ...]

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        return {"schema": SCHEMA, "environment": environment(), "models": [row.to_json() for row in self.rows]}

    def check(self) -> None:
        """Raise for the first row that failed.

        Raises:
            AgentError: of the kind the runtime raised, naming the model and why.
        """
        for row in self.rows:
            if row.measured.error is not None:
                raise row.measured.failure()


def bench(  # noqa: PLR0913  # what a measurement is made of
    models: Sequence[Path],
    runtimes: Sequence[str] = ("auto",),
    *,
    threads: int = 1,
    runs: int = 200,
    warmup: int = 20,
    seed: int = 0,
    streams: int = 1,
    on_event: OnEvent = ignore,
) -> BenchResult:
    """Time every model on every runtime with seeded inputs, taking turns in one child process.

    With more than one of `streams`, each model also runs as many inferences at a time, with `threads` each, and in
    turns with that one alone: inferences a second, and what one of them takes then.

    Raises:
        ModelError: if a model does not exist.
        JobCrashedError: if a runtime ended the process.
    """
    for model in models:
        if not model.exists():
            raise ModelError(f"model '{model}' does not exist")
    pairs = [(model, runtime) for model in models for runtime in runtimes]
    candidates = [
        Candidate(key=str(number), path=model, runtime=runtime, threads=threads)
        for number, (model, runtime) in enumerate(pairs)
    ]
    on_event(Event(stage="measure", detail=f"{len(pairs)} x {runs} inferences"))
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        jobs = JobRunner(log=Path(scratch, "run.log"))
        measured = measure(
            candidates, jobs, Path(scratch), keep_outputs=False, runs=runs, warmup=warmup, seed=seed, streams=streams
        )
    first = measured["0"]
    return BenchResult(
        rows=tuple(
            BenchRow(
                model=str(model),
                threads=threads,
                measured=measured[str(number)],
                against_first=_ratio(first, measured[str(number)]),
            )
            for number, (model, _) in enumerate(pairs)
        )
    )


def _ratio(first: Measured, other: Measured) -> float | None:
    return first.p50_ms / other.p50_ms if first.error is None and other.error is None and other.p50_ms else None
