"""How much of each device is taken, so that one that is noisy or hostile takes the time of nobody else. No I/O.

A device has an allowance: so many messages at once (`burst`), and so many a second after that (`rate`). One of more
than 2 KiB counts as several, which bounds bytes too. What goes beyond is not taken, and not acknowledged: a report
stays with its device, which sends it again. Who is beyond gets nothing until a second's worth has gathered, so that
what is taken and what is not are long runs: gaps in the numbers of reports stay few.
"""

import threading
import time
from collections.abc import Hashable
from dataclasses import dataclass
from typing import Generic, TypeVar

UNIT_BITS = 11
"""Messages are counted in units of 2 KiB."""
TOLD_S = 300.0
TOLD_LIMIT = 10
LOOK_S = 1.0
KEYS = 100_000
_Key = TypeVar("_Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Units (of 2 KiB) of one device: a second, on average, and at once. A rate of 0 is no limit."""

    rate: float
    burst: float

    @property
    def reserve(self) -> float:
        """What has to gather before somebody who was beyond is let in again."""
        return min(self.burst, max(1.0, self.rate))


class Allowance:
    """What is left of one device's limits: `left -= cost`, and where it is below 0 `renewed(cost)` decides."""

    __slots__ = ("_beyond", "_limits", "_saved", "_since_s", "left")

    def __init__(self, limits: Limits, now_s: float) -> None:
        """Begin with all of it."""
        self._limits, self._since_s = limits, now_s
        self.left = limits.burst if limits.rate else float("inf")
        self._saved, self._beyond = 0.0, False

    def renewed(self, cost: float, now_s: float) -> bool:
        """Add what has gathered; return whether a message that was taken off `left` already may pass."""
        limits = self._limits
        have = self._saved if self._beyond else self.left + cost
        have = min(limits.burst, have + max(0.0, now_s - self._since_s) * limits.rate)
        self._since_s = now_s
        if have < max(min(cost, limits.burst), limits.reserve if self._beyond else 0.0):
            self._saved, self._beyond, self.left = have, True, -1.0
            return False
        self.left, self._beyond = have - cost, False
        return True


def cost(payload: bytes) -> int:
    """Return what a message counts."""
    return 1 + (len(payload) >> UNIT_BITS)


class Allowances(Generic[_Key]):
    """The allowance of each of many; of more than 100,000 all are forgotten."""

    def __init__(self, limits: Limits) -> None:
        """Give each the same."""
        self._limits = limits
        self._known: dict[_Key, Allowance] = {}

    def passes(self, key: _Key, payload: bytes) -> bool:
        """Return whether a message may pass."""
        one = self._known.get(key)
        if one is None:
            if len(self._known) >= KEYS:
                self._known.clear()
            one = self._known[key] = Allowance(self._limits, time.monotonic())
        price = cost(payload)
        one.left -= price
        return one.left >= 0 or one.renewed(price, time.monotonic())


@dataclass(frozen=True, slots=True)
class Beyond(Generic[_Key]):
    """Who was beyond the limits, how often since it was told last, and for how many more there was no room."""

    key: _Key
    count: int
    others: int = 0


class Noisy(Generic[_Key]):
    """Counts who is beyond the limits; each is told at most every five minutes, and ten at a time.

    One thread may count while another tells.
    """

    def __init__(self) -> None:
        """Begin with nobody."""
        self._counts: dict[_Key, int] = {}
        self._told: dict[_Key, float] = {}
        self._looked_s = float("-inf")
        self._lock = threading.Lock()

    def add(self, key: _Key) -> None:
        """Count a message that was not taken."""
        with self._lock:
            if key in self._counts or len(self._counts) < KEYS:
                self._counts[key] = self._counts.get(key, 0) + 1

    def due(self, now_s: float) -> list[Beyond[_Key]]:
        """Return whom to tell of now, the noisiest first."""
        if not self._counts or now_s - self._looked_s < LOOK_S:
            return []
        self._looked_s = now_s
        self._told = {key: at_s for key, at_s in self._told.items() if now_s - at_s < TOLD_S}
        with self._lock:
            found = {key: count for key, count in self._counts.items() if key not in self._told}
            self._counts = {key: count for key, count in self._counts.items() if key in self._told}
        self._told |= dict.fromkeys(found, now_s)
        first = sorted(found, key=lambda key: -found[key])[:TOLD_LIMIT]
        return [Beyond(key, found[key], len(found) - len(first)) for key in first]
