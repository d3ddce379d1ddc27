"""What the service manager is told: that the agent is ready, and that every part of it still works. No I/O, no clock.

A supervisor that only says it is alive is one that is restarted too late: the loop may turn while nothing is sent any
more. So `WATCHDOG=1` is due only when every part has ticked since the last time, and `READY=1` when each has once.
"""

from collections.abc import Sequence

TRANSPORT, SPOOL, WORKERS = "transport", "spool", "workers"
PARTS = (TRANSPORT, SPOOL, WORKERS)


class Watchdog:
    """Counts the ticks of an agent's parts."""

    def __init__(self, period_s: float | None = None, parts: Sequence[str] = PARTS) -> None:
        """Take how long the service manager waits before it acts, None where it does not, and what has to tick."""
        self._period_s, self._parts = period_s, tuple(parts)
        self._ticked: set[str] = set()
        self._ready = False
        self._last_s: float | None = None
        self._told_late = False

    @property
    def missing(self) -> tuple[str, ...]:
        """The parts that have not ticked since the last time all had."""
        return tuple(part for part in self._parts if part not in self._ticked)

    def tick(self, part: str) -> None:
        """Take that a part works.

        Raises:
            ValueError: if there is no such part: it would never be waited for.
        """
        if part not in self._parts:
            raise ValueError(part)
        self._ticked.add(part)

    def due(self, now_s: float) -> list[str]:
        """Return what to tell at this moment, on the steady clock; nothing while a part is missing."""
        if self.missing:
            return []
        if not self._ready:
            self._ready, self._last_s = True, now_s
            self._ticked.clear()
            return ["READY=1"]
        # four times in a period: one that comes late, or is lost, does no harm
        if self._period_s is None or self._last_s is None or now_s - self._last_s < self._period_s / 4:
            return []
        self._last_s, self._told_late = now_s, False
        self._ticked.clear()
        return ["WATCHDOG=1"]

    def late(self, now_s: float) -> tuple[str, ...]:
        """Return the parts that are missing when half of the period is over, once."""
        if self._period_s is None or self._last_s is None or self._told_late:
            return ()
        if now_s - self._last_s <= self._period_s / 2:
            return ()
        self._told_late = bool(self.missing)
        return self.missing
