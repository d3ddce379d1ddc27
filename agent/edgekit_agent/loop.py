"""The timed loop of a worker: sample, pre-processing, inference, post-processing, and what was measured, sent away."""

import json
import resource
import signal
import socket
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np

from edgekit_agent.bench import Stages
from edgekit_agent.errors import AgentError
from edgekit_agent.protocol import MEMORY_SCALE
from edgekit_agent.quantize import to_real
from edgekit_agent.runtimes.base import Array, Session
from edgekit_agent.sources import Sample, Source

FLUSH_S = 1.0
MAX_CLASSES = 1000


class Loop:
    """The timed loop. What an inference costs beyond the runtime is four readings of a clock and an append."""

    def __init__(self, control: socket.socket, session: Session, source: Source, rate_hz: float) -> None:
        """Take a loaded model and its source; `rate_hz` 0 is as fast as it can."""
        self._control, self._session, self._source = control, session, source
        self._period_s = 1 / rate_hz if rate_hz else 0.0
        self._output = next((n for n, s in enumerate(session.outputs) if len(s.shape) > 1 and s.shape[-1] > 1), None)
        self._asked_to_stop = False
        signal.signal(signal.SIGTERM, self._stop)
        self._clear()

    def _stop(self, _number: int, _frame: object) -> None:
        self._asked_to_stop = True

    def _clear(self) -> None:
        self._since = time.monotonic()
        self._readings: list[tuple[int, int, int, int]] = []
        self._errors: Counter[str] = Counter()
        self._failures: list[str] = []
        self._dropped = 0
        self._classes: Counter[int] = Counter()
        self._labelled = self._correct = 0

    def run(self) -> None:
        """Run until the source ends (then wait to be ended) or the supervisor is gone."""
        flush_at = time.monotonic() + FLUSH_S
        due = time.monotonic()
        for sample in self._source.samples():
            if self._period_s:
                due = self._wait(due)
            if self._asked_to_stop:
                self._flush()
                return
            self._one(sample)
            if time.monotonic() >= flush_at:
                self._flush()
                flush_at = time.monotonic() + FLUSH_S
        self._flush()
        self._send({"type": "finished"})
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        self._control.recv(1)

    def _wait(self, due: float) -> float:
        """Sleep until the next inference is due; periods that have passed are counted as dropped."""
        now = time.monotonic()
        if now < due:
            while (left := due - time.monotonic()) > 0 and not self._asked_to_stop:
                time.sleep(min(left, FLUSH_S))
                if left > FLUSH_S:
                    self._flush()  # a slow rate must not look like a hang
        else:
            missed = int((now - due) / self._period_s)
            self._dropped += missed
            due += missed * self._period_s
        return due + self._period_s

    def _one(self, sample: Sample) -> None:
        clock = time.perf_counter_ns
        try:
            start = clock()
            arrays = self._source.prepare(sample)
            ready = clock()
            outputs = self._session.invoke(arrays)
            inferred = clock()
            chosen = self._top1(outputs)
            done = clock()
        except AgentError as exc:
            kind = type(exc).__name__
            if not self._errors[kind]:
                self._failures.append(str(exc))
            self._errors[kind] += 1
            return
        self._readings.append((start, ready, inferred, done))
        if chosen is not None:
            self._classes[chosen] += 1
            if sample.label is not None:
                self._labelled += 1
                self._correct += chosen == sample.label

    def _top1(self, outputs: list[Array]) -> int | None:
        """Return the largest class of the classifying output, if the model has one: the post-processing timed."""
        if self._output is None:
            return None
        output, spec = outputs[self._output], self._session.outputs[self._output]
        # one scale for all classes keeps their order: no need of the real values
        return int(np.argmax(output if len(spec.scale) < 2 else to_real(output, spec)))  # noqa: PLR2004

    def _flush(self) -> None:
        stages = Stages()
        stages.extend(self._readings)
        statistics: dict[str, Any] = {}
        if self._classes:
            statistics["top1"] = {str(number): count for number, count in self._classes.most_common(MAX_CLASSES)}
        if self._labelled:
            statistics |= {"labelled": self._labelled, "correct": self._correct}
        self._send(
            {
                "type": "measured",
                "span_s": time.monotonic() - self._since,
                "n": len(self._readings),
                "err": dict(self._errors),
                "failures": self._failures,
                "drop": self._dropped,
                "lat": stages.latency(MEMORY_SCALE).to_json(),
                "stat": statistics,
                "gauges": _gauges(),
            }
        )
        self._clear()

    def _send(self, message: dict[str, Any]) -> None:
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            sys.exit(0)  # the supervisor is gone


_last_cpu = (time.monotonic(), time.process_time())


def _gauges() -> dict[str, float | int]:
    """Return this process's memory and its share of one core since the last call."""
    global _last_cpu  # noqa: PLW0603  # one process, one clock
    now, cpu = time.monotonic(), time.process_time()
    length, used = now - _last_cpu[0], cpu - _last_cpu[1]
    _last_cpu = (now, cpu)
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    gauges: dict[str, float | int] = {"rss_bytes": pages * resource.getpagesize()}
    if length > 0:
        gauges["cpu_percent"] = round(100 * used / length, 1)
    return gauges
