"""How long a device may be silent: its heartbeat, and a margin learnt from how late its heartbeats were.

Chosen by measurement against a fixed deadline and phi-accrual, `tests/benchmarks/bench_presence.py`; ADR 0035 has the
figures.
"""

LEAST_SHARE, MOST_SHARE = 0.3, 0.9
LEAST_S = 3.0
"""Below a heartbeat of a few seconds it is the network's delays that count."""
TIMES = 2.5
KEEPS = 0.98
"""Of a delay that was seen half is remembered after 34 heartbeats."""
DEFAULT_BEAT_S = 10.0


class Deadline:
    """The margin of one device."""

    __slots__ = ("_late_s",)

    def __init__(self) -> None:
        """Begin with what a device gets that nothing is known of: all the patience there is."""
        self._late_s = float("inf")

    def beat(self, gap_s: float, heartbeat_s: float) -> None:
        """Learn from the time between two heartbeats."""
        late_s = max(0.0, gap_s - heartbeat_s)
        # what is not known yet is as late as the most that is waited for
        known_s = min(self._late_s, MOST_SHARE * heartbeat_s)
        self._late_s = max(late_s, KEEPS * known_s)

    def seconds(self, heartbeat_s: float) -> float:
        """Return after how many seconds of silence a device with this heartbeat is taken for dead."""
        most = MOST_SHARE * heartbeat_s
        margin = min(most, max(LEAST_SHARE * heartbeat_s, TIMES * self._late_s))
        return heartbeat_s + max(LEAST_S, margin)
