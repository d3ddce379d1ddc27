"""Run artifacts in a child process: outputs on given inputs and latency, by the agent's own stopwatch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from edgekit._report import Rim
from edgekit_agent import errors
from edgekit_agent.errors import AgentError, ModelError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Array, Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A model to run; `runtime` is a runtime's name or `auto`."""

    key: str
    path: Path
    runtime: str = "auto"
    threads: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """What a run gave: `outputs` [N, ...] by name, times in milliseconds; or `error`, and nothing else.

    `takes` and `gives` are the model's inputs and outputs as it stores them.
    """

    runtime: str = ""
    version: str = ""
    executed_on: tuple[str, ...] = ()
    outputs: Mapping[str, Array] | None = None
    takes: tuple[Rim, ...] = ()
    gives: tuple[Rim, ...] = ()
    runs: int = 0
    p50_ms: float = 0.0
    p90_ms: float = 0.0
    p99_ms: float = 0.0
    mean_ms: float = 0.0
    min_ms: float = 0.0
    quantiles_ms: tuple[float, ...] = ()
    """The 0th to the 100th percentile."""
    load_ms: float = 0.0
    peak_rss_bytes: int | None = None
    throughput: tuple[Mapping[str, float], ...] = ()
    """Of one stream and of as many as were asked for: `streams`, `inferences`, `per_second`, `p50_ms` to `p99_ms`."""
    error: str | None = None
    error_kind: str | None = None

    def figures(self) -> dict[str, object]:
        """Return what was measured, as JSON has it: without arrays."""
        left_out = {"outputs", "error_kind", "takes", "gives", *(() if self.throughput else ("throughput",))}
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name not in left_out}

    def failure(self) -> AgentError:
        """Return the error as the agent's own kind, to raise."""
        kind: type[AgentError] = getattr(errors, self.error_kind or "", ModelError)
        return kind(self.error)


def measure(  # noqa: PLR0913  # what a measurement is made of
    candidates: Sequence[Candidate],
    jobs: JobRunner,
    work: Path,
    *,
    inputs: Arrays | None = None,
    keep_outputs: bool = True,
    stored: Sequence[str] = (),
    runs: int = 200,
    warmup: int = 20,
    limit_s: float = 120.0,
    seed: int = 0,
    streams: int = 1,
) -> dict[str, Measured]:
    """Run every candidate on the inputs [N, ...] one sample at a time, then time them in turns in one process.

    Taking turns makes their ratios fair on a machine that is not quiet. `runs=0` times nothing; there are fewer where
    all of them take longer than `limit_s` seconds. Outputs of a quantized model are real values, but those named in
    `stored` as it stores them. With more than one of `streams` each candidate then runs as many inferences at a time,
    in turns with one.

    Raises:
        JobCrashedError: if a runtime ended the process.
    """
    request: dict[str, object] = {
        "models": [
            {"id": one.key, "path": str(one.path.resolve()), "runtime": one.runtime, "threads": one.threads}
            for one in candidates
        ],
        "inputs": None,
        "outputs": None,
        "stored": list(stored),
        "runs": runs,
        "warmup": warmup,
        "limit_s": limit_s,
        "seed": seed,
        "batch": 1,
        "streams": streams,
    }
    folder = work / "measured"
    folder.mkdir(exist_ok=True)
    if inputs is not None:
        np.savez(folder / "inputs.npz", **inputs)  # type: ignore[arg-type]  # names are the arrays' own
        request["inputs"] = str(folder / "inputs.npz")
        request["outputs"] = str(folder) if keep_outputs else None
    answer = jobs.run("edgekit_agent.measure", request)
    return {key: _measured(key, one, folder) for key, one in answer["models"].items()}


def _measured(key: str, answer: Mapping[str, Any], folder: Path) -> Measured:
    if "error" in answer:
        return Measured(error=answer["error"]["message"], error_kind=answer["error"]["kind"])
    outputs = None
    if "result" in answer:
        with np.load(folder / f"{key}.npz", allow_pickle=False) as archive:
            outputs = {name: archive[name] for name in archive.files}
    timing = answer.get("timing", {})
    return Measured(
        runtime=answer["runtime"],
        version=answer["version"],
        executed_on=tuple(answer["executed_on"]),
        outputs=outputs,
        takes=tuple(_rim(one) for one in answer["inputs"]),
        gives=tuple(_rim(one) for one in answer["outputs"]),
        load_ms=answer["load_ms"],
        peak_rss_bytes=answer["peak_rss_bytes"],
        quantiles_ms=tuple(timing.get("quantiles_ms", ())),
        throughput=tuple(answer.get("throughput", ())),
        **{
            name: timing[name] for name in ("runs", "p50_ms", "p90_ms", "p99_ms", "mean_ms", "min_ms") if name in timing
        },
    )


def _rim(described: Mapping[str, Any]) -> Rim:
    return Rim(
        name=described["name"],
        dtype=described["dtype"],
        shape=tuple(None if size == -1 else size for size in described["shape"]),
        scale=tuple(described["scale"]),
        zero_point=tuple(described["zero_point"]),
    )
