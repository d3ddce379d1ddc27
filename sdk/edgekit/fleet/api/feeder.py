"""Keeps the live board like the store while somebody looks at it, and rests while nobody does."""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy.exc import SQLAlchemyError

from edgekit.errors import EdgeKitError
from edgekit.fleet.api.board import Board
from edgekit.fleet.store import DeviceRow, EventRow, Store
from edgekit.fleet.store.live import LiveReader, Newest, with_numbers

_LOG = logging.getLogger(__name__)

POLL_S = 0.1
# Presence is read of all devices at once, which takes longer than to see whether there are reports.
DEVICES_S = 1.0
BACK_OFF_S = 2.0
REPORT_LIMIT = 20_000
EVENTS_KEPT = 500


class Feeder:
    """Reads what changed and wakes those who stream it."""

    def __init__(self, store: Store) -> None:
        """Feed a board from the store."""
        self.board = Board()
        self.events: deque[EventRow] = deque(maxlen=EVENTS_KEPT)
        self.read_at: float | None = None  # on the steady clock: when the board was last like the store
        self._store, self._reader = store, LiveReader(store.engine)
        self._watchers = 0
        self._looked_at = asyncio.Event()
        self._moved = asyncio.Condition()
        self._cursor, self._epoch, self._event = 0, "", 0
        self._presences: dict[int, tuple[object, ...]] = {}
        self._devices_at = 0.0

    @contextmanager
    def watched(self) -> Iterator[None]:
        """Keep the board fed as long as the block lasts."""
        self._watchers += 1
        self._looked_at.set()
        try:
            yield
        finally:
            self._watchers -= 1

    @property
    def watchers(self) -> int:
        """How many look."""
        return self._watchers

    async def moved(self, timeout_s: float) -> None:
        """Wait until the board has changed, at most so long."""
        async with self._moved:
            try:
                await asyncio.wait_for(self._moved.wait(), timeout_s)
            except TimeoutError:
                return

    async def run(self) -> None:
        """Feed until cancelled; a store that is away is asked again."""
        while True:
            if not self._watchers:
                self.read_at = None
                self._looked_at.clear()
                await self._looked_at.wait()
            try:
                changed = await (self._poll() if self.read_at is not None else self._begin())
            except (SQLAlchemyError, OSError, EdgeKitError):
                _LOG.exception("live view: the store cannot be read")
                await asyncio.sleep(BACK_OFF_S)
                continue
            if changed:
                async with self._moved:
                    self._moved.notify_all()
            await asyncio.sleep(POLL_S)

    async def _begin(self) -> bool:
        self._cursor, self._epoch = await asyncio.to_thread(self._reader.cursors)
        self.events.clear()
        latest = await asyncio.to_thread(self._store.events.latest, limit=1)
        self._event = latest[0].id if latest else 0
        self._presences = await asyncio.to_thread(self._reader.presences)
        devices = await asyncio.to_thread(self._store.devices.all)
        newest = await asyncio.to_thread(self._reader.newest)
        self.board.reset(devices, newest)
        self._devices_at = self.read_at = time.monotonic()
        return True

    async def _poll(self) -> bool:
        """Bring the board up to date; one turn in another thread, since each may have to wait for a busy machine."""
        found = await asyncio.to_thread(self._read)
        if found is None:
            return await self._begin()
        reports, devices, events = found
        before = self.board.version
        if reports:
            self._cursor = reports[-1].id
        if events:
            self._event = events[-1].id
            self.events.extend(events)
        self.board.update(devices, reports)
        self.read_at = time.monotonic()
        return self.board.version != before or bool(events)

    def _read(self) -> tuple[list[Newest], list[DeviceRow], list[EventRow]] | None:
        """Return what is new in the store; None when devices were removed, and all has to be read again."""
        cursor, epoch = self._reader.cursors()
        if epoch != self._epoch:
            return None
        reports = self._reader.since(self._cursor, REPORT_LIMIT) if cursor > self._cursor else []
        devices: list[DeviceRow] = []
        now = time.monotonic()
        if now - self._devices_at >= DEVICES_S or any(not self.board.known(one.device_id) for one in reports):
            devices = self._changed_devices()
            self._devices_at = now
        return reports, devices, self._store.events.since(self._event, EVENTS_KEPT)

    def _changed_devices(self) -> list[DeviceRow]:
        presences = self._reader.presences()
        changed = [number for number, told in presences.items() if self._presences.get(number) != told]
        self._presences = presences
        return [row for condition in with_numbers(changed) for row in self._store.devices.query(condition)]
