"""Files of one model by several tools, run on the same samples and timed in turns: a row of figures each."""

import os
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from edgekit import _metrics
from edgekit._measure import Candidate, Measured, measure
from edgekit._metrics import Accuracy
from edgekit_converters import tflite_file
from edgekit_converters.backends import tflite_job
from edgekit_converters.jobs import JobRunner

Arrays = Mapping[str, Any]
RUNS, WARMUP = 100, 10
TIMED_SAMPLES = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A file to judge; `seconds` is what making it took, None where that is not compared; `failed` says why not."""

    name: str
    runtime: str
    path: Path | None = None
    seconds: float | None = None
    is_float: bool = False
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """An entry's figures; `p50_ratio` is float's p50 over its own on the same runtime, above 1 for faster.

    `snr_db` is the power of float's answers over that of the difference to them.
    """

    entry: Entry
    accuracy: Accuracy | None = None
    snr_db: float = 0.0
    file_bytes: int = 0
    weights_bytes: int = 0
    p50_ms: float = 0.0
    p50_ratio: float = 0.0
    failed: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """All rows, and what each file answered: the metric's arrays by entry number."""

    rows: tuple[Row, ...]
    answers: Mapping[int, Arrays]
    metric: str
    labels: Arrays

    def lost(self, one: int, other: int) -> tuple[float, tuple[float, float]]:
        """Return by how much one entry scores less than another, with the paired 95 % interval."""
        found = _metrics.accuracy(self.metric, self.labels, self.answers[one], self.answers[other])
        assert found.drop is not None
        assert found.drop_ci95 is not None
        return found.drop, found.drop_ci95


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What files are judged on; `labels` None: the float file's own classes."""

    inputs: Arrays
    labels: Any | None
    metric: str
    scored: Any
    """Turns the first output and the inputs into what the metric takes."""


def judge(entries: Sequence[Entry], task: Task, rounds: int, work: Path) -> Judged:
    """Run, score and time the entries; each runtime's float entry is what its others are held against."""
    jobs = JobRunner(log=work / "judge.log")
    there = {str(at): one for at, one in enumerate(entries) if one.path is not None}
    candidates = [Candidate(key=key, path=one.path) for key, one in there.items() if one.path]
    # what they answer does not depend on the threads: all cores are soonest done
    every = [replace(one, threads=os.cpu_count() or 1) for one in candidates]
    ran = measure(every, jobs, work, inputs=task.inputs, runs=0)
    times = _timed([one for one in candidates if ran[one.key].error is None], task, rounds, jobs, work)
    answers = {int(key): _answer(one, task) for key, one in ran.items() if one.error is None}
    floats = {one.runtime: at for at, one in enumerate(entries) if one.is_float and at in answers}
    labels = task.labels
    if labels is None:
        labels = next(iter(answers[next(iter(floats.values()))].values())).argmax(-1)
    rows = []
    for at, entry in enumerate(entries):
        failed = entry.failed or str(ran[str(at)].error or "") if str(at) in ran else entry.failed
        base = floats.get(entry.runtime)
        if failed or base is None or entry.path is None:
            rows.append(Row(entry=entry, failed=failed or "it has no float file to be held against"))
            continue
        found = _metrics.accuracy(task.metric, {"y": labels}, answers[at], answers[base])
        file_bytes, weights_bytes = sizes(entry.path)
        ratios = [before / own for before, own in zip(times[str(base)], times[str(at)], strict=True)]
        rows.append(
            Row(
                entry=entry,
                accuracy=found,
                snr_db=_metrics.agreement(answers[base], answers[at]).snr_db,
                file_bytes=file_bytes,
                weights_bytes=weights_bytes,
                p50_ms=statistics.median(times[str(at)]) if rounds else 0.0,
                p50_ratio=statistics.median(ratios) if rounds else 0.0,
            )
        )
    return Judged(rows=tuple(rows), answers=answers, metric=task.metric, labels={"y": labels})


def _answer(ran: Measured, task: Task) -> Arrays:
    assert ran.outputs is not None
    return {"y": task.scored(next(iter(ran.outputs.values())), task.inputs)}


def _timed(
    candidates: Sequence[Candidate], task: Task, rounds: int, jobs: JobRunner, work: Path
) -> dict[str, list[float]]:
    """Return every candidate's p50 in each round; each round is a process, and another one is first in it."""
    first = {name: array[:TIMED_SAMPLES] for name, array in task.inputs.items()}
    times: dict[str, list[float]] = {one.key: [] for one in candidates}
    for number in range(rounds):
        turn = number % len(candidates)
        order = [*candidates[turn:], *candidates[:turn]]
        found = measure(order, jobs, work, inputs=first, keep_outputs=False, runs=RUNS, warmup=WARMUP)
        for key, one in found.items():
            times[key].append(one.p50_ms)
    return times


def sizes(path: Path) -> tuple[int, int]:
    """Return the bytes of a model's files and of its learnt constants."""
    if path.suffix == ".tflite":
        return path.stat().st_size, tflite_job.weights_bytes(tflite_file.parse(path.read_bytes(), path.name))
    if path.suffix == ".onnx":
        return path.stat().st_size, _onnx_weights(path)
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # nothing is sent
    from edgekit_converters.layers import openvino

    return path.stat().st_size + path.with_suffix(".bin").stat().st_size, openvino.weights_bytes(openvino.read(path))


def _onnx_weights(path: Path) -> int:
    import onnx
    from onnx import numpy_helper

    stored = onnx.load(path).graph.initializer
    return int(sum(np.asarray(numpy_helper.to_array(one)).nbytes for one in stored))
