"""Events of devices."""

import hashlib
import json
from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Engine, Row, Select, select

from edgekit.fleet.store.base import DeviceKey, EventRow
from edgekit.fleet.store.bulk import chunks
from edgekit.fleet.store.counters import Counted, add_counts
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.known import ignoring, make_devices, numbers_of
from edgekit.fleet.store.tables import DEVICES, EVENTS
from edgekit.fleet.wire import Event, document

LIMIT = 1_000
LEVELS = ("debug", "info", "warning", "error")


class Events:
    """Adds and reads events."""

    def __init__(self, engine: Engine, device_limit: int) -> None:
        """Use the database, for so many devices at most."""
        self._engine, self._limit = engine, device_limit

    def add(self, key: DeviceKey, event: Event, now_ms: int) -> bool:
        """Store an event; return whether it is new: one that came again is stored once."""
        return self.add_all([(key, event, now_ms)]) > 0

    def add_all(self, events: Sequence[tuple[DeviceKey, Event, int]], counted: Counted | None = None) -> int:
        """Store events with when they came, in one transaction; return how many are new.

        Those of a device that is not known, and for which there is no room, are left out.

        Args:
            events: what came, in order.
            counted: what else became of the messages they came in; `stored` and `duplicate` are added.
        """
        stored = 0
        if not events and counted is None:
            return stored
        with writing(self._engine) as connection:
            names = list(dict.fromkeys(key for key, _, _ in events))
            make_devices(connection, names, max((now_ms for _, _, now_ms in events), default=0), self._limit)
            numbers = numbers_of(connection, names)
            for key, event, now_ms in events:
                if key in numbers:
                    stored += ignoring(connection, EVENTS, [_values(numbers[key], event, now_ms)])
            if counted is not None:
                became = {"stored": stored, "duplicate": len(events) - stored}
                add_counts(connection, counted.source, {**counted.counts, **became})
        return stored

    def since(self, cursor: int, limit: int = LIMIT) -> list[EventRow]:
        """Return the events stored after one, oldest first; the last one's `id` is the next cursor."""
        return self._rows(_query().where(EVENTS.c.id > cursor).order_by(EVENTS.c.id).limit(limit))

    def latest(
        self,
        *,
        devices: Collection[DeviceKey] | None = None,
        since_ms: int = 0,
        levels: Collection[str] | None = None,
        limit: int = LIMIT,
    ) -> list[EventRow]:
        """Return the newest events, newest first: of some devices, since a time of arrival, of some levels."""
        query = _query().where(EVENTS.c.arrived_ms >= since_ms)
        if levels is not None:
            query = query.where(EVENTS.c.level.in_(list(levels)))
        query = query.order_by(EVENTS.c.id.desc())
        if devices is None:
            return self._rows(query.limit(limit))
        found: list[EventRow] = []
        for part in chunks([f"{key.site}/{key.device}" for key in devices]):
            found += self._rows(query.where((DEVICES.c.site + "/" + DEVICES.c.device).in_(part)).limit(limit))
        return sorted(found, key=lambda row: -row.id)[:limit]

    def _rows(self, query: Select[Any]) -> list[EventRow]:
        with reading(self._engine) as connection:
            return [_row(row) for row in connection.execute(query)]


def _values(number: int, event: Event, now_ms: int) -> dict[str, object]:
    return {
        "device_id": number,
        "ts_ms": event.ts_ms,
        "arrived_ms": now_ms,
        "level": event.level,
        "code": event.code,
        "text": event.text,
        "model": event.model,
        "boot": event.boot,
        "detail": document(event.detail),
        "digest": hashlib.sha256(document(event).encode()).hexdigest()[:16],
    }


def _query() -> Select[Any]:
    return select(EVENTS, DEVICES.c.site, DEVICES.c.device).join(DEVICES, DEVICES.c.id == EVENTS.c.device_id)


def _row(row: Row[Any]) -> EventRow:
    return EventRow(
        id=row.id,
        site=row.site,
        device=row.device,
        ts_ms=row.ts_ms,
        arrived_ms=row.arrived_ms,
        level=row.level,
        code=row.code,
        text=row.text,
        model=row.model,
        boot=row.boot,
        detail=json.loads(row.detail),
    )
