"""The stopwatch: the one code that times a model, on a device and on the host."""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from edgekit_agent.protocol import ExpHistogram, Latency
from edgekit_agent.runtimes.base import Array, Session

_NS = 1e-9


class Stages:
    """Latency of pre-processing, inference, post-processing and all together, as histograms in seconds.

    `queue` is how long requests have waited before; it is part of all together.
    """

    __slots__ = ("e2e", "infer", "post", "pre", "queue")

    def __init__(self) -> None:
        """Start empty."""
        self.pre, self.infer, self.post, self.e2e, self.queue = (ExpHistogram() for _ in range(5))

    def extend(self, readings: Sequence[tuple[int, int, int, int]], came: Sequence[int] = ()) -> None:
        """Count inferences by the four readings (ns) around their stages: start, ready, inferred, done.

        `came` has when each was asked for, where they were asked for.
        """
        if not readings:
            return
        import numpy as np

        start, ready, inferred, done = np.asarray(readings, dtype=np.int64).T
        spans = {"pre": ready - start, "infer": inferred - ready, "post": done - inferred, "e2e": done - start}
        if came:
            spans |= {"queue": start - np.asarray(came), "e2e": done - np.asarray(came)}
        for stage, span in spans.items():
            seconds = span * _NS
            positive = seconds[seconds > 0]
            histogram: ExpHistogram = getattr(self, stage)
            # the bucket law of ExpHistogram.add, for all values at once
            buckets = np.ceil(np.log2(positive) * 2.0**histogram.scale).astype(np.int64) - 1
            indices, counts = np.unique(buckets, return_counts=True)
            histogram.add_counts(
                dict(zip(indices.tolist(), counts.tolist(), strict=True)),
                zeros=len(seconds) - len(positive),
                total=float(seconds.sum()),
                minimum=float(seconds.min()),
                maximum=float(seconds.max()),
            )

    def latency(self, scale: int) -> Latency:
        """Return the histograms for the wire."""
        return Latency(
            pre=self.pre.at_scale(scale),
            infer=self.infer.at_scale(scale),
            post=self.post.at_scale(scale),
            e2e=self.e2e.at_scale(scale),
            queue=self.queue.at_scale(scale) if self.queue.count else None,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Every timed inference of one model, in seconds and in order."""

    seconds: tuple[float, ...]

    def quantile_ms(self, q: float) -> float:
        """Return the q-quantile (0 to 1, nearest rank) in milliseconds."""
        return self._quantiles_ms((q,))[0]

    def _quantiles_ms(self, shares: Sequence[float]) -> list[float]:
        ordered = sorted(self.seconds)
        return [1000 * ordered[max(0, math.ceil(q * len(ordered)) - 1)] for q in shares]

    def to_json(self) -> dict[str, float | list[float]]:
        """Return the summary in milliseconds; `quantiles_ms` are the 0th to the 100th percentile, 101 values."""
        return {
            "runs": len(self.seconds),
            "p50_ms": self.quantile_ms(0.5),
            "p90_ms": self.quantile_ms(0.9),
            "p99_ms": self.quantile_ms(0.99),
            "min_ms": 1000 * min(self.seconds),
            "max_ms": 1000 * max(self.seconds),
            "mean_ms": 1000 * sum(self.seconds) / len(self.seconds),
            "quantiles_ms": self._quantiles_ms([percent / 100 for percent in range(101)]),
        }


def measure(  # noqa: PLR0913  # each has its own meaning and is named
    sessions: Mapping[str, Session],
    feeds: Mapping[str, Sequence[Sequence[Array]]],
    *,
    runs: int,
    warmup: int,
    limit_s: float,
    burst: int = 10,
    on_share: Callable[[float], None] = lambda _share: None,
) -> dict[str, Timing]:
    """Time sessions in turns, a short burst each, so that a noisy machine disturbs all alike.

    Args:
        sessions: loaded models by key.
        feeds: for each key the inputs of one inference after the other, taken round and round.
        runs: timed inferences a session, fewer when the limit is reached first (at least 3).
        warmup: untimed inferences a session before.
        limit_s: time for everything, in seconds.
        burst: inferences a turn; the first of each turn is not timed, because the others' data fills the caches.
        on_share: is told after each turn which share of all is done.
    """
    end = time.monotonic() + limit_s
    seconds: dict[str, list[float]] = {key: [] for key in sessions}
    for key, session in sessions.items():
        for number in range(warmup):
            session.invoke(feeds[key][number % len(feeds[key])])
            if time.monotonic() > end:
                break
    minimum = 3
    while any(len(taken) < runs for taken in seconds.values()):
        for key, session in sessions.items():
            _turn(session, feeds[key], seconds[key], min(burst, runs - len(seconds[key])))
        on_share(min(len(taken) for taken in seconds.values()) / runs)
        if time.monotonic() > end and all(len(taken) >= minimum for taken in seconds.values()):
            break
    return {key: Timing(seconds=tuple(taken)) for key, taken in seconds.items()}


def _turn(session: Session, feed: Sequence[Sequence[Array]], taken: list[float], count: int) -> None:
    clock = time.perf_counter_ns
    if count > 0:
        session.invoke(feed[len(taken) % len(feed)])
    for _ in range(count):
        arrays = feed[len(taken) % len(feed)]
        start = clock()
        session.invoke(arrays)
        taken.append((clock() - start) * _NS)
