"""The port every sink implements, and what stands between it and the loop: the rate, and the counts."""

import contextlib
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

Told = Mapping[str, Any]
"""An answer as JSON values; see docs/guide/sources.md."""


class Sink(Protocol):
    """Takes answers; what it raises is counted and never ends the worker."""

    kind: str
    rate_hz: float

    def put(self, told: Told) -> bool:
        """Take an answer; return whether it was taken and not dropped."""
        ...

    def flush(self) -> None:
        """Bring on what waits; called about once a second."""
        ...

    def close(self) -> None:
        """Bring on what waits and let go of what is open."""
        ...


class Sinks:
    """Hands answers to every sink, each at its own rate, and counts what became of them."""

    def __init__(self, sinks: Sequence[Sink], clock: Callable[[], float] = time.monotonic) -> None:
        """Take the sinks."""
        self._sinks = [_Paced(sink, clock) for sink in sinks]

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._sinks)

    def put(self, tell: Callable[[], Told]) -> None:
        """Hand an answer over; `tell` makes its JSON values, if anyone takes it."""
        told: Told | None = None
        for sink in self._sinks:
            if sink.due():
                told = told or tell()
                sink.put(told)

    def flush(self) -> None:
        """Bring on what waits."""
        for sink in self._sinks:
            sink.flush()

    def close(self) -> None:
        """Bring on what waits, and let go of what is open."""
        for sink in self._sinks:
            sink.flush()
            sink.close()

    def take_counts(self) -> dict[str, dict[str, int]]:
        """Return by kind how many answers were taken, dropped and failed since the last call."""
        found: dict[str, dict[str, int]] = {}
        for sink in self._sinks:
            kind = found.setdefault(sink.kind, {})
            for name, count in sink.take_counts().items():
                kind[name] = kind.get(name, 0) + count
        return {kind: counts for kind, counts in found.items() if counts}

    def take_failures(self) -> list[str]:
        """Return what went wrong first at each sink since the last call."""
        return [text for sink in self._sinks if (text := sink.take_failure())]


class _Paced:
    def __init__(self, sink: Sink, clock: Callable[[], float]) -> None:
        self.kind = sink.kind
        self._sink, self._clock = sink, clock
        self._period_s = 1 / sink.rate_hz if sink.rate_hz else 0.0
        self._due = 0.0
        self._counts: dict[str, int] = {}
        self._failure = ""

    def due(self) -> bool:
        """Say whether the sink takes one now; one that comes too soon is dropped."""
        if not self._period_s:
            return True
        now = self._clock()
        if now < self._due:
            self._count("dropped")
            return False
        # an even pace, and no burst after a pause
        self._due = max(self._due + self._period_s, now)
        return True

    def put(self, told: Told) -> None:
        try:
            self._count("taken" if self._sink.put(told) else "dropped")
        except (Exception, SystemExit) as exc:  # noqa: BLE001  # the port: a full disk, a user's own function
            self._failed(exc)

    def flush(self) -> None:
        try:
            self._sink.flush()
        except OSError as exc:
            self._failed(exc)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._sink.close()

    def take_counts(self) -> dict[str, int]:
        counts, self._counts = self._counts, {}
        return counts

    def take_failure(self) -> str:
        failure, self._failure = self._failure, ""
        return failure

    def _count(self, what: str) -> None:
        self._counts[what] = self._counts.get(what, 0) + 1

    def _failed(self, exc: BaseException) -> None:
        self._count("failed")
        self._failure = self._failure or f"sink '{self.kind}' failed: {type(exc).__name__}: {exc}"[:500]
