"""What a worker has measured since it last told its supervisor, and the telling."""

import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from edgekit_agent.bench import Stages
from edgekit_agent.protocol import MEMORY_SCALE
from edgekit_agent.statistics import Statistics

FLUSH_S = 1.0
SAY_AGAIN_S = 60.0


class Meter:
    """Readings, errors by kind, drops and statistics; `readings` are appended to, the rest goes through methods."""

    def __init__(
        self, control: socket.socket, statistics: Statistics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """Take the socket to the supervisor, and what is fed with answers."""
        self._control, self._clock = control, clock
        self.statistics = statistics
        self._said: dict[str, float] = {}
        self._clear()

    def _clear(self) -> None:
        self._since = self._clock()
        self.due_ns = time.perf_counter_ns() + int(1e9 * FLUSH_S)
        """When it is time to tell, on `time.perf_counter_ns`."""
        self.readings: list[tuple[int, int, int, int]] = []
        """The clock (ns) when an inference began, when its inputs were ready, when it had run, when it was done."""
        self.came: list[int] = []
        """When each was asked for, where applications ask; else empty."""
        self._errors: Counter[str] = Counter()
        self._failures: list[str] = []
        self.dropped = 0

    def failed(self, exc: Exception) -> None:
        """Count an error by its kind."""
        kind = type(exc).__name__
        self._errors[kind] += 1
        self.say(kind, str(exc))

    def say(self, kind: str, text: str) -> None:
        """Tell a sentence about a kind of trouble as an event, one a minute at most."""
        now = self._clock()
        if now - self._said.get(kind, -SAY_AGAIN_S) >= SAY_AGAIN_S:
            self._said[kind] = now
            self._failures.append(text)

    def flush(self, more: Mapping[str, Any], gauges: Mapping[str, float], executed_on: Sequence[str]) -> None:
        """Tell the supervisor, with where the model executes now; `more` goes among the statistics."""
        stages = Stages()
        stages.extend(self.readings, self.came)
        self.send(
            {
                "type": "measured",
                "span_s": self._clock() - self._since,
                "n": len(self.readings),
                "err": dict(self._errors),
                "failures": self._failures,
                "drop": self.dropped,
                "lat": stages.latency(MEMORY_SCALE).to_json(),
                "stat": {**self.statistics.take(), **more},
                "gauges": gauges,
                "executed_on": executed_on,
            }
        )
        self._clear()

    def send(self, message: Mapping[str, Any]) -> None:
        """Send a message; without a supervisor there is nothing to do any more."""
        try:
            self._control.send(json.dumps(message).encode())
        except OSError:
            sys.exit(0)
