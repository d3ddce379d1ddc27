"""Devices whose latency is like that of real ones, for trying the gates of rollouts: seeded, no time passes.

The log of an inference's latency is the sum of: the device's own level (devices differ by tens of percent), a slow part
by window (first-order autoregression), a part common to all devices of a site (load, weather), the inference's own
noise, and for a few in a hundred a delay that is exponential in the log (another process, a garbage collection).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgekit.fleet.rollout.noise import Windowed
from edgekit_agent.protocol.histogram import WIRE_SCALE, ExpHistogram

WINDOW_S, INFERENCES = 10.0, 600


@dataclass(frozen=True, kw_only=True)
class Habits:
    """What latency is like; all are standard deviations of logs but for `stragglers` (a share) and `phi`."""

    spread: float = 0.3
    own: float = 0.08
    slow: float = 0.015
    phi: float = 0.7
    common: float = 0.005
    quick: float = 0.01
    stragglers: float = 0.02
    delay: float = 0.15
    restart: float = 0.005
    rate: int = INFERENCES


QUIET = Habits()
"""A device that does little else."""
BUSY = Habits(own=0.12, slow=0.04, quick=0.03, common=0.02, delay=0.4)
"""A device that shares its processor: measured of a 0.2 ms model on a virtual machine under load."""


@dataclass(frozen=True, kw_only=True)
class Change:
    """What a release does: `whole` shifts every inference, `tail` stretches those above the 90th percentile.

    Both are logs; `tail` is reached at the 99th percentile.
    """

    whole: float = 0.0
    tail: float = 0.0


class Fleet:
    """Devices of one model that report windows in step."""

    def __init__(self, devices: int, habits: Habits, rng: Any) -> None:
        """Take how many, what they are like, and NumPy's random numbers."""
        self.habits, self.rng = habits, rng
        self.level = np.log(0.02) + habits.spread * rng.standard_normal(devices)
        self.restarted = habits.restart * rng.standard_normal(devices)
        self.slow = habits.slow * rng.standard_normal(devices)
        self.own = habits.own * np.exp(0.2 * rng.standard_normal(devices))
        self.common = 0.0
        self.at_s = 0.0

    def windows(self, changed: dict[int, Change] | None = None) -> Iterator[Windowed]:
        """Give the next window of each device; `changed` have a new release."""
        h, rng, changed = self.habits, self.rng, changed or {}
        fresh = np.sqrt(1 - h.phi**2)
        self.at_s += WINDOW_S
        self.slow = h.phi * self.slow + h.slow * fresh * rng.standard_normal(len(self.slow))
        self.common = h.phi * self.common + h.common * fresh * rng.standard_normal()
        for device, level in enumerate(self.level):
            logs = self.own[device] * rng.standard_normal(h.rate)
            late = rng.random(h.rate) < h.stragglers
            logs[late] += rng.exponential(h.delay, int(late.sum()))
            if device in changed:
                change = changed[device]
                logs += change.whole + self.restarted[device]
                if change.tail:
                    low, high = _points(h, float(self.own[device]))
                    logs += change.tail * np.clip((logs - low) / (high - low), 0.0, 3.0)
            logs += level + self.slow[device] + self.common + h.quick * rng.standard_normal()
            yield Windowed(self.at_s, histogram_of(logs))


def histogram_of(logs: Any) -> ExpHistogram:
    """Return what a report has of inferences with these log-latencies."""
    indexes = np.ceil(logs * (2**WIRE_SCALE / np.log(2))).astype(int) - 1
    low = int(indexes.min())
    counts = {low + at: int(n) for at, n in enumerate(np.bincount(indexes - low)) if n}
    values = np.exp(logs)
    histogram = ExpHistogram(WIRE_SCALE)
    histogram.add_counts(
        counts, zeros=0, total=float(values.sum()), minimum=float(values.min()), maximum=float(values.max())
    )
    return histogram


_POINTS: dict[tuple[Habits, float], tuple[float, float]] = {}


def _points(habits: Habits, own: float) -> tuple[float, float]:
    """Return the 90th and 99th percentile of the log-latency about the level, by a large seeded sample."""
    key = (habits, round(own, 2))
    if key not in _POINTS:
        rng = np.random.default_rng(0)
        logs = own * rng.standard_normal(200_000)
        late = rng.random(len(logs)) < habits.stragglers
        logs[late] += rng.exponential(habits.delay, int(late.sum()))
        low, high = np.quantile(logs, (0.9, 0.99))
        _POINTS[key] = (float(low), float(high))
    return _POINTS[key]
