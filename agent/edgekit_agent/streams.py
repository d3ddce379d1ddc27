"""Several inferences of a model at a time: how many a second there are, and how long each of them takes then.

OpenVINO compiles the model once for as many streams, each with an inference request; of the other runtimes there are
as many sessions, each in a thread: they let Python's lock go while they compute.
"""

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.bench import Timing
from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes.base import PLAIN, Array, LoadOptions, Pooling, Runtime, Session

TURNS = 10
_START_TIMEOUT_S = 30.0
_NS = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """What so many streams did together; `timing` has every inference of all of them."""

    streams: int
    seconds: float
    timing: Timing

    @property
    def per_second(self) -> float:
        """Inferences a second, of all streams together."""
        return len(self.timing.seconds) / self.seconds

    def to_json(self) -> dict[str, float]:
        """Return the figures; times in milliseconds."""
        return {
            "streams": self.streams,
            "inferences": len(self.timing.seconds),
            "per_second": self.per_second,
            **{f"p{percent}_ms": self.timing.quantile_ms(percent / 100) for percent in (50, 90, 99)},
        }


def load(runtime: Runtime, model: Path, streams: int, options: LoadOptions = PLAIN) -> list[Session]:
    """Return as many sessions of a model, which may run at the same time, each in a thread of its own.

    Raises:
        ModelError: as `Runtime.load` does.
        RuntimeMissingError: as `Runtime.load` does.
    """
    if isinstance(runtime, Pooling):
        return list(runtime.load_pool(model, streams, options))
    return [runtime.load(model, options) for _ in range(streams)]


def measure(
    pools: Mapping[str, Sequence[Session]], feeds: Sequence[Sequence[Array]], *, seconds: float, turns: int = TURNS
) -> dict[str, Throughput]:
    """Run pools in turns, so that a noisy machine disturbs all alike, each as fast as it can.

    Args:
        pools: sessions by key; each runs in a thread of its own.
        feeds: inputs of one inference after the other, taken round and round.
        seconds: time for each pool, in all its turns together.
        turns: how often each pool has its turn.

    Raises:
        AgentError: the first that a session raised.
    """
    taken: dict[str, list[float]] = {key: [] for key in pools}
    spent = dict.fromkeys(pools, 0.0)
    for _ in range(turns):
        for key, sessions in pools.items():
            found, elapsed = _turn(sessions, feeds, seconds / turns)
            taken[key] += found
            spent[key] += elapsed
    return {
        key: Throughput(streams=len(sessions), seconds=spent[key], timing=Timing(seconds=tuple(taken[key])))
        for key, sessions in pools.items()
    }


def _turn(sessions: Sequence[Session], feeds: Sequence[Sequence[Array]], seconds: float) -> tuple[list[float], float]:
    """Return how long each inference took, and the time from the first one's start to the last one's end."""
    ready = threading.Barrier(len(sessions))

    def run(at: int) -> tuple[list[float], float, float]:
        session, taken, number = sessions[at], list[float](), at
        try:
            session.invoke(feeds[number % len(feeds)])  # the others' data is in the caches
            ready.wait(_START_TIMEOUT_S)
        except threading.BrokenBarrierError as exc:
            raise ModelError("another stream failed") from exc
        except BaseException:
            ready.abort()
            raise
        begun = now = time.perf_counter_ns()
        end = begun + seconds / _NS
        while now < end:
            number += 1
            session.invoke(feeds[number % len(feeds)])
            before, now = now, time.perf_counter_ns()
            taken.append((now - before) * _NS)
        return taken, begun * _NS, now * _NS

    with ThreadPoolExecutor(len(sessions)) as threads:
        done = [threads.submit(run, at) for at in range(len(sessions))]
        failures = [error for one in done if (error := one.exception()) is not None]
    for error in sorted(failures, key=lambda one: str(one) == "another stream failed"):
        raise error
    results = [one.result() for one in done]
    return [second for taken, _, _ in results for second in taken], (
        max(ended for _, _, ended in results) - min(begun for _, begun, _ in results)
    )
