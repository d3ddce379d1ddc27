"""Presence inside the service: fed by states and events as they come and by reports as they are stored."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

from edgekit.fleet import _clock
from edgekit.fleet.presence.roll import Change, Key, Roll
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import Kind, Topic

if TYPE_CHECKING:
    from edgekit.fleet.store import Store
    from edgekit.fleet.store.presence import PresenceRow

TURN_S = 0.5
FRESH_MS = 10_000
FIRST_S = 5.0
"""How long after the start devices are taken for what they were, while there is no connection to the broker yet."""


class Came(Protocol):
    """A message as the service's link hands it on."""

    @property
    def topic(self) -> Topic:
        """Its topic, taken apart."""
        ...

    @property
    def payload(self) -> bytes:
        """Its body."""
        ...

    @property
    def retained(self) -> bool:
        """Whether the broker had kept it."""
        ...

    @property
    def arrived_ms(self) -> int:
        """When it came."""
        ...


class Link(Protocol):
    """The service's connection to the broker."""

    @property
    def connected(self) -> bool:
        """Whether it stands."""
        ...


class Host(Protocol):
    """What is needed of the service."""

    @property
    def store(self) -> "Store":
        """Where verdicts go."""
        ...

    @property
    def link(self) -> Link:
        """The connection."""
        ...

    def listen(self, kinds: Iterable[Kind], handler: Callable[[Sequence[Came]], Awaitable[None]]) -> None:
        """Have a handler called with messages."""
        ...


class PresencePart:
    """Keeps the presence of every device in the store true."""

    def __init__(self, service: Host) -> None:
        """Listen."""
        self._service, self._store = service, service.store
        self.roll = Roll()
        self._written: dict[Key, tuple[str, str]] = {}
        self._cursor = 0
        self._changes: list[Change] = []
        self._writing = asyncio.Lock()
        self._connected: bool | None = None
        self._began_s = time.monotonic()
        service.listen((Kind.STATE,), self._states)
        service.listen((Kind.EVENT,), self._events)

    async def run(self) -> None:
        """Decide twice a second, until it is cancelled."""
        await self._begin()
        while True:
            now_s, now_ms = time.monotonic(), _clock.now_ms()
            self._look(now_s)
            came, self._cursor = await asyncio.to_thread(self._store.presence.reported_after, self._cursor)
            for key, at_ms in came:
                self._changes += self.roll.heard(key, now_s, now_s - max(0, now_ms - at_ms) / 1000)
            self._changes += [] if self._connected is None else self.roll.tick(now_s)
            await self._write()
            await asyncio.sleep(TURN_S)

    def _look(self, now_s: float) -> None:
        """Tell of another connection to the broker, or of none; that of the start has its time to come about."""
        connected = self._service.link.connected
        first = self._connected is None
        if connected is self._connected or (first and not connected and now_s - self._began_s <= FIRST_S):
            return
        self._connected = connected
        if not (first and connected):
            self._changes += self.roll.host(now_s, connected=connected)

    async def _begin(self) -> None:
        """Take up what the store says: who was online before we began gets its time, as one the broker tells of."""
        now_s = time.monotonic()
        self._cursor = await asyncio.to_thread(self._store.reports.cursor)
        for row in await asyncio.to_thread(self._store.devices.all):
            self._written[row.key] = row.presence, row.presence_reason
            if row.state is not None and row.key not in self.roll:
                self.roll.remember(row.key, row.state, row, now_s)

    async def _states(self, messages: Sequence[Came]) -> None:
        from edgekit.fleet.wire import State, decode

        now_s, now_ms = time.monotonic(), _clock.now_ms()
        for message in messages:
            key = message.topic.site, message.topic.device
            if not message.payload:
                self.roll.forget(key)
                self._written.pop(key, None)
                continue
            try:
                state = decode(Kind.STATE, message.payload)
            except ProtocolError:
                continue
            if isinstance(state, State):
                at_s = now_s - max(0, now_ms - message.arrived_ms) / 1000
                self._changes += self.roll.state(key, state, at_s, retained=message.retained)
        await self._write()

    async def _events(self, messages: Sequence[Came]) -> None:
        from edgekit.fleet.wire import Event, decode

        now_s = time.monotonic()
        for message in messages:
            try:
                event = decode(Kind.EVENT, message.payload)
            except ProtocolError:
                continue
            # the broker keeps events while the service is away: an old one is no sign of life
            if isinstance(event, Event) and abs(message.arrived_ms - event.ts_ms) < FRESH_MS:
                self._changes += self.roll.heard((message.topic.site, message.topic.device), now_s)

    async def _write(self) -> None:
        """Keep what is another than is kept, one after the other: of two at once the older could be the last."""
        async with self._writing:
            changes, self._changes = self._changes, []
            rows = self._rows(dict.fromkeys(change.key for change in changes))
            if not rows:
                return
            try:
                await asyncio.to_thread(self._store.presence.put, rows)
            except Exception:
                self._changes = changes + self._changes  # it is still to be written
                raise
            self._written |= {(row.key.site, row.key.device): (row.presence, row.reason) for row in rows}

    def _rows(self, keys: Iterable[Key]) -> "list[PresenceRow]":
        from edgekit.fleet.store import DeviceKey
        from edgekit.fleet.store.presence import PresenceRow

        now_s, now_ms = time.monotonic(), _clock.now_ms()
        rows = []
        for key in keys:
            verdict = self.roll.verdict(key)
            told = verdict.presence.value, verdict.cause.value
            if key in self.roll and self._written.get(key) != told:
                since_ms = now_ms - int(1000 * (now_s - verdict.since_s))
                rows.append(PresenceRow(DeviceKey(*key), *told, since_ms))
        return rows
