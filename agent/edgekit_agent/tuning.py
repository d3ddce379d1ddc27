"""How many threads a model is fastest with on this device: measured once, then remembered.

More threads are not always faster: small models lose more by waking threads than they win, and on cores that other
workers use too all of them lose. Each number is measured by itself, for a share of the time; the fewest threads are
kept whose median is within the noise of the best one's.
"""

import hashlib
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent import bench
from edgekit_agent.bench import Timing
from edgekit_agent.durable import StateFile
from edgekit_agent.runtimes.base import Session

RUNS, FEWEST_RUNS = 40, 2
NOISE = 0.05
"""A median within this share of the best one's is as good."""
REMEMBERED = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Tuned:
    """The number of threads to take, and what was measured: the median in milliseconds by threads."""

    threads: int
    p50_ms: Mapping[int, float]
    remembered: bool = False

    def to_json(self) -> dict[str, object]:
        """Return it for people and for the disk."""
        return {"threads": self.threads, "p50_ms": {str(one): round(ms, 4) for one, ms in self.p50_ms.items()}}


def cores() -> int:
    """Return how many cores this process may use."""
    return len(os.sched_getaffinity(0))


def counts(most: int) -> tuple[int, ...]:
    """Return the numbers of threads to try: all up to four, then the powers of two and the number of cores."""
    return tuple(one for one in range(1, most + 1) if one <= 4 or one & (one - 1) == 0 or one == most)  # noqa: PLR2004


def tune(load: Callable[[int], Session], most: int, limit_s: float) -> Tuned:
    """Measure a model with 1 to `most` threads: with one, with all, then what lies between.

    Args:
        load: loads it with so many threads; one is loaded at a time, so that memory is needed once.
        most: threads at most.
        limit_s: for all of it; what does not fit in is left out, but one and all threads are tried, a slow model
            twice each: it is the slow ones that gain most.

    Raises:
        AgentError: if the model cannot be loaded or run.
    """
    asked, end = sorted(counts(most), key=lambda one: (one not in {1, most}, one)), time.monotonic() + limit_s
    found: dict[int, Timing] = {}
    for at, threads in enumerate(asked):
        if not {1, most} - set(found) and time.monotonic() > end:
            break
        with closing(load(threads)) as session:
            found[threads] = _timing(session, (end - time.monotonic()) / (len(asked) - at))
    medians = {threads: timing.quantile_ms(0.5) for threads, timing in found.items()}
    return Tuned(threads=best(found), p50_ms=medians)


def _timing(session: Session, limit_s: float) -> Timing:
    from edgekit_agent import feeds  # NumPy, which comes with a runtime

    inputs = feeds.synthetic(session.inputs, 0)
    begun = time.monotonic()
    session.invoke(inputs[0])
    once = time.monotonic() - begun
    runs = max(FEWEST_RUNS, min(RUNS, int(limit_s / max(once, 1e-6))))
    measured = bench.measure(
        {"": session}, {"": inputs}, runs=runs, warmup=0, limit_s=max(0.0, limit_s), burst=min(10, runs)
    )
    return measured[""]


def best(found: Mapping[int, Timing]) -> int:
    """Return the fewest threads whose median is within the noise of the lowest: its spread, or 5 %, up to 15 %."""
    fastest = min(found.values(), key=lambda timing: timing.quantile_ms(0.5))
    p25, p50, p75 = (fastest.quantile_ms(q) for q in (0.25, 0.5, 0.75))
    noise = min(max((p75 - p25) / 2, NOISE * p50), 3 * NOISE * p50)
    return min(threads for threads, timing in found.items() if timing.quantile_ms(0.5) <= p50 + noise)


def remembered(folder: Path, key: Sequence[str], measure: Callable[[], Tuned]) -> Tuned:
    """Return what was measured for this key before, or measure now and remember it where the disk takes it."""
    file = StateFile(folder / f"{hashlib.sha256(json.dumps(list(key)).encode()).hexdigest()[:32]}.json")
    known = _read(file.load().value, key)
    if known is not None:
        return known
    measured = measure()
    with suppress(OSError):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        file.save({"key": list(key), **measured.to_json()})
        _forget_oldest(folder)
    return measured


def _read(value: Mapping[str, object] | None, key: Sequence[str]) -> Tuned | None:
    """Return what a file says, if it says it of this key and makes sense."""
    if value is None or value.get("key") != list(key):
        return None
    threads, medians = value.get("threads"), value.get("p50_ms")
    if type(threads) is not int or not isinstance(medians, dict) or str(threads) not in medians:
        return None
    try:
        return Tuned(threads=threads, p50_ms={int(n): float(ms) for n, ms in medians.items()}, remembered=True)
    except (ValueError, TypeError):
        return None


def _forget_oldest(folder: Path) -> None:
    files = sorted(folder.glob("*.json"), key=lambda one: one.stat().st_mtime)
    for path in files[:-REMEMBERED]:
        path.unlink(missing_ok=True)
        path.with_name(f"{path.name}.prev").unlink(missing_ok=True)
