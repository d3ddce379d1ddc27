"""Which reports go now: those just made at once, those that waited behind them, oldest first. The spool keeps them."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol

from edgekit_agent.actions import Now
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import Report, State
from edgekit_agent.spool import Record

IN_FLIGHT = 20
RETRY_UNHEARD_S = 5.0
UNHEARD_LIMIT_S = 60.0
RESEND_S, LONGEST_RESEND_S = 60.0, 3600.0


@dataclass(frozen=True, slots=True)
class Parcel:
    """A report to publish; its position comes back with `taken`."""

    position: int
    payload: bytes


class Waiting(Protocol):
    """Reports that wait, by position: a `Spool`, or memory where nothing has to last."""

    host: bool
    on_its_way: Callable[[int], bool]
    """Asked of a position whose report is dropped: one that was sent may still arrive, and is not lost yet."""

    @property
    def first(self) -> int:
        """The position of the oldest report, or `end`."""
        ...

    @property
    def end(self) -> int:
        """The position the next report gets."""
        ...

    def get(self, position: int) -> Record | None:
        """Return a report, or None when it is done with."""
        ...

    def lowest(self, boot: str) -> int:
        """Return the lowest sequence number of a boot that waits, 0 when none does."""
        ...

    def put(self, boot: str, seq: int, payload: bytes, now: Now) -> None:
        """Add a report."""
        ...

    def expire(self, now: Now) -> None:
        """Drop what is too old."""
        ...

    def release(self, boot: str, seq: int) -> None:
        """Forget every report of a boot up to a sequence number."""
        ...

    def release_before(self, position: int) -> None:
        """Forget every report before a position."""
        ...

    def arrived(self, position: int) -> None:
        """Note that a report has arrived, which may have been dropped while it was on its way."""
        ...

    def lost_on_the_way(self) -> None:
        """Count what was dropped while it was on its way as lost."""
        ...


class Outbox:
    """Two lanes through the spool: live reports, and late ones from its beginning up to where the live ones began.

    What waits when a connection is made is late, marked `h:1`, and goes from the oldest on. Without a host that
    acknowledges, a report is done with when the broker has taken it; with one, when the host has stored it.

    After the broker was away all wait `settle_s`, because the subscribers have to come back too: a broker that
    kept nothing over its restart takes a report and gives it to nobody. A broker that says so
    (MQTT 5, "no matching subscribers") within a minute of its return gets the reports again.
    """

    def __init__(self, spool: Waiting, settle_s: float) -> None:
        """Take what is in the spool."""
        self._spool, self.settle_s = spool, settle_s
        self._connected = self._broker_was_away = False
        self._connected_at = self._ready_at = self._late_at = 0.0
        self._late = self._border = self._live = spool.first  # late: up to the border; live: behind it
        self._first_turn = False
        self._flying: set[int] = set()
        self._host_online = True
        self._host_came: tuple[str | None, int | None] | None = None
        self._since, self._patience_s = 0.0, RESEND_S
        spool.on_its_way = self._on_its_way

    @property
    def unsent(self) -> bool:
        """Whether something could go, or is on its way to the broker."""
        return self._connected and bool(self._flying or self._live_waits or self._late_waits)

    def open(self, now: Now) -> bool:
        """Return whether messages may go: there is a connection, and the subscribers had their time."""
        return self._connected and now.s >= self._ready_at

    @property
    def _live_waits(self) -> bool:
        return self._live < self._spool.end

    @property
    def _late_waits(self) -> bool:
        return self._late < self._border and (self._host_online or not self._spool.host)

    def put(self, report: Report, now: Now) -> None:
        """Add a report."""
        self._spool.put(report.boot, report.seq, report.to_bytes(), now)

    # --- the broker

    def connected(self, now: Now) -> None:
        """Note a connection: whatever is in the spool goes, again or for the first time, as late."""
        self._spool.lost_on_the_way()
        self._connected, self._connected_at = True, now.s
        self._ready_at = now.s + (self.settle_s if self._broker_was_away else 0.0)
        self._late_at = 0.0
        self._late, self._border, self._live = self._spool.first, self._spool.end, self._spool.end
        self._first_turn = True
        self._since, self._patience_s = now.s, RESEND_S
        self._flying.clear()

    def disconnected(self) -> None:
        """Note that a connection is gone or could not be made: nothing can be sent."""
        self._connected, self._broker_was_away = False, True
        self._spool.lost_on_the_way()

    def taken(self, position: int, now: Now, *, heard: bool = True) -> None:
        """Note that the broker has taken a report, and whether it had a subscriber for it."""
        self._flying.discard(position)
        if self._first_turn:
            return
        if not heard and self._broker_was_away and now.s - self._connected_at <= UNHEARD_LIMIT_S:
            self._again(position)
            self._late_at = now.s + RETRY_UNHEARD_S
            return
        if self._spool.host:
            return
        self._spool.arrived(position)
        next_one = self._late if self._late < self._border else self._live
        self._spool.release_before(min(self._flying | {next_one}))

    def hurry(self) -> None:
        """Let everything go now: there is no later, because the agent stops."""
        self._ready_at = self._late_at = 0.0

    # --- the host

    def acknowledged(self, boot: str, seq: int, now: Now) -> None:
        """Note that the host has stored every report of a boot up to this one."""
        self._host_is(online=True)
        before = self._spool.first
        self._spool.release(boot, seq)
        if self._spool.first != before:
            self._since, self._patience_s = now.s, RESEND_S

    def host(self, state: State) -> None:
        """Note the presence of a host that stores: while it is away what waits is kept for it.

        One that comes, or comes anew (`boot` and `birth` tell), gets what was not acknowledged again.
        """
        came = (state.boot, state.birth)
        if state.state == "online" and self._host_came not in {None, came}:
            self._again(self._spool.first)
        self._host_came = came
        self._host_is(online=state.state == "online")

    def _host_is(self, *, online: bool) -> None:
        self._spool.host = True
        if online and not self._host_online:
            self._again(self._spool.first)
        self._host_online = online

    def no_host(self) -> None:
        """Note that no host stores any more: the broker's word is enough."""
        self._spool.host, self._host_online, self._host_came = False, True, None

    # --- sending

    def take(self, now: Now) -> list[Parcel]:
        """Return what to send now; it is in flight until `taken` or the next connection."""
        self._spool.expire(now)
        if not self.open(now):
            return []
        if self._first_turn:  # what was made while it waited is late too, so that all of it goes in order
            self._border = self._live = self._spool.end
            self._first_turn = False
        if self._overdue_at() <= now.s:
            self._again(self._spool.first)
            self._since, self._patience_s = now.s, min(LONGEST_RESEND_S, 2 * self._patience_s)
        parcels, self._live = self._next(self._live, self._spool.end, self._room(late=False), late=False)
        if self._late_waits and now.s >= self._late_at:
            late, self._late = self._next(self._late, self._border, self._room(late=True), late=True)
            parcels += late
        if any(parcel.position == self._spool.first for parcel in parcels):
            self._since = now.s
        self._flying |= {parcel.position for parcel in parcels}
        return parcels

    def next_time(self, now: Now) -> float | None:
        """Return when `take` may have something new, or None when only an event can change that."""
        if not self._connected:
            return None
        times = [self._overdue_at() if self.open(now) else self._ready_at]
        if self._live_waits and self._room(late=False):
            times.append(self._ready_at)
        if self._late_waits and self._room(late=True):
            times.append(max(self._ready_at, self._late_at))
        earliest = min(times)
        return None if earliest == math.inf else max(now.s, earliest)

    def _overdue_at(self) -> float:
        """Return when what was sent and not acknowledged goes again: the host may have lost it."""
        idle = not (self._flying or self._live_waits or self._late_waits)
        waits = self._spool.host and self._host_online and self._spool.first < self._spool.end
        return self._since + self._patience_s if idle and waits else math.inf

    def _again(self, position: int) -> None:
        """Send everything from a position on again, as late."""
        self._late, self._border = min(self._late, position), self._live

    def _on_its_way(self, position: int) -> bool:
        """Return whether a report was sent over this connection: an answer to it may still come."""
        return self._connected and (position < self._late or self._border <= position < self._live)

    def _room(self, *, late: bool) -> int:
        return IN_FLIGHT - sum((position < self._border) == late for position in self._flying)

    def _next(self, begin: int, end: int, room: int, *, late: bool) -> tuple[list[Parcel], int]:
        """Return so many reports of a lane, and where it goes on; what is done with is passed over."""
        parcels: list[Parcel] = []
        position = max(begin, self._spool.first)
        while position < end and len(parcels) < room:
            record = self._spool.get(position)
            if record is not None:
                payload = self._marked(record) if late else record.payload
                parcels.append(Parcel(position, payload))
            position += 1
        return parcels, position

    def _marked(self, record: Record) -> bytes:
        """Return a report as late, with the lowest number of its boot that can still come."""
        try:
            report = Report.from_bytes(record.payload)
        except ProtocolError:  # of a newer agent, before a step back: as it is
            return record.payload
        return replace(report, history=1, lowest=self._spool.lowest(record.boot)).to_bytes()
