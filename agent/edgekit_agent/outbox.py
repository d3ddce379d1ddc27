"""Reports on their way to the broker: bounded, and a report leaves only when the broker has taken it. No I/O."""

from collections import OrderedDict
from dataclasses import dataclass, field, replace

from edgekit_agent.protocol import Report

IN_FLIGHT = 20
RETRY_UNHEARD_S = 5.0
UNHEARD_LIMIT_S = 60.0


@dataclass(slots=True)
class _Waiting:
    report: Report
    sent: bool = False
    in_flight: bool = False
    not_before: float = 0.0


@dataclass(slots=True)
class Outbox:
    """Reports by sequence number, oldest first.

    After the broker was away all wait `settle_s`, because the subscribers have to come back too: a broker that
    kept nothing over its restart takes a report and gives it to nobody. A broker that says so
    (MQTT 5, "no matching subscribers") within a minute of its return gets the report again.
    """

    capacity: int
    settle_s: float
    dropped: int = 0
    _waiting: "OrderedDict[int, _Waiting]" = field(default_factory=OrderedDict)
    _connected: bool = False
    _broker_was_away: bool = False
    _ready_at: float = 0.0
    _connected_at: float = 0.0

    def __len__(self) -> int:
        """Return how many reports wait or are in flight."""
        return len(self._waiting)

    def put(self, report: Report) -> int:
        """Add a report and return how many of the oldest were dropped to make room."""
        self._waiting[report.seq] = _Waiting(report)
        lost = max(0, len(self._waiting) - self.capacity)
        for _ in range(lost):
            self._waiting.popitem(last=False)
        self.dropped += lost
        return lost

    def connected(self, now: float) -> None:
        """Note a connection: whatever was in flight goes again, marked as history."""
        self._connected, self._connected_at = True, now
        self._ready_at = now + (self.settle_s if self._broker_was_away else 0.0)
        for waiting in self._waiting.values():
            waiting.in_flight, waiting.not_before = False, 0.0

    def disconnected(self) -> None:
        """Note that a connection is gone or could not be made: nothing can be sent."""
        self._connected, self._broker_was_away = False, True

    def hurry(self) -> None:
        """Let everything go now: there is no later, because the agent stops."""
        self._ready_at = 0.0
        for waiting in self._waiting.values():
            waiting.not_before = 0.0

    def take(self, now: float) -> list[Report]:
        """Return the reports to send now; each is in flight until `acked`, `unheard` or the next connection."""
        if not self._connected or now < self._ready_at:
            return []
        free = IN_FLIGHT - sum(waiting.in_flight for waiting in self._waiting.values())
        taken: list[Report] = []
        for waiting in self._waiting.values():
            if free <= len(taken):
                break
            if waiting.in_flight or now < waiting.not_before:
                continue
            taken.append(replace(waiting.report, history=1) if waiting.sent else waiting.report)
            waiting.in_flight = waiting.sent = True
        return taken

    def acked(self, seq: int) -> None:
        """Forget a report the broker has taken."""
        self._waiting.pop(seq, None)

    def unheard(self, seq: int, now: float) -> None:
        """Note that the broker took a report for which it has no subscriber."""
        waiting = self._waiting.get(seq)
        if waiting is None:
            return
        if not self._broker_was_away or now - self._connected_at > UNHEARD_LIMIT_S:
            self.acked(seq)
        else:
            waiting.in_flight, waiting.not_before = False, now + RETRY_UNHEARD_S

    def next_time(self, now: float) -> float | None:
        """Return when `take` may have something new, or None when only an event can change that."""
        if not self._connected or not self._waiting:
            return None
        times = [max(self._ready_at, one.not_before) for one in self._waiting.values() if not one.in_flight]
        if not times or len(self._waiting) - len(times) >= IN_FLIGHT:
            return None
        return max(now, min(times))
