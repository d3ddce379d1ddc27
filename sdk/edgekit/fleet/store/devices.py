"""Devices: what they say of themselves, and what is concluded of their presence."""

import json
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, delete, func, select, update

from edgekit.errors import UsageError
from edgekit.fleet.store.base import DeviceKey, DeviceRow, Heard, ServedModel
from edgekit.fleet.store.bulk import chunks
from edgekit.fleet.store.counters import Counted, add_counts
from edgekit.fleet.store.engine import Turn, reading, writing
from edgekit.fleet.store.known import bump_epoch
from edgekit.fleet.store.said import keep
from edgekit.fleet.store.tables import (
    BOOTS,
    DEVICE_MODELS,
    DEVICES,
    EVENTS,
    HOURS,
    MINUTES,
    REPORTS,
)
from edgekit.fleet.wire import Info, Reported, State

LIMIT = 100_000
_OWNED = (REPORTS, MINUTES, HOURS, EVENTS, BOOTS, DEVICE_MODELS)


class Devices:
    """Reads and writes devices."""

    def __init__(self, engine: Engine, device_limit: int) -> None:
        """Use the database, for so many devices at most."""
        self._engine, self._limit = engine, device_limit
        self._at_forget: list[Callable[[Connection, int], None]] = []

    # --- what devices say

    def put(self, said: Sequence[Heard], counted: Counted | None = None) -> int:
        """Keep what devices say, in one transaction; return for how many new devices there was no room.

        Args:
            said: what came, in order.
            counted: what else became of the messages it came in; `stored` is added.
        """
        with writing(self._engine) as connection:
            refused = keep(connection, said, self._limit)
            if counted is not None:
                add_counts(connection, counted.source, {**counted.counts, "stored": len(said) - refused})
        return refused

    def put_state(self, key: DeviceKey, state: State, now_ms: int) -> bool:
        """Keep a device's presence as it says; return False when there is no room for a new device."""
        return not self.put([Heard(key, state, b"", now_ms)])

    def put_info(self, key: DeviceKey, info: Info, raw: bytes, now_ms: int) -> bool:
        """Keep a device's description, as it came and in parts; return False when there is no room."""
        return not self.put([Heard(key, info, raw, now_ms)])

    def put_reported(self, key: DeviceKey, reported: Reported, raw: bytes, now_ms: int) -> bool:
        """Keep what a device has of the desired state, as it came; return False when there is no room."""
        return not self.put([Heard(key, reported, raw, now_ms)])

    def put_presence(self, key: DeviceKey, presence: str, reason: str, since_ms: int) -> None:
        """Keep what is concluded of a device's presence."""
        values = {"presence": presence, "presence_reason": reason, "presence_since_ms": since_ms}
        with writing(self._engine) as connection:
            connection.execute(update(DEVICES).where(_is(key)).values(**values))

    # --- reading

    def all(self, limit: int = LIMIT) -> list[DeviceRow]:
        """Return the devices by site and name."""
        return self._rows(select(DEVICES).order_by(DEVICES.c.site, DEVICES.c.device).limit(limit))

    def get(self, key: DeviceKey) -> DeviceRow | None:
        """Return a device, None when it is not known."""
        found = self._rows(select(DEVICES).where(_is(key)))
        return found[0] if found else None

    def query(self, condition: Any, limit: int = LIMIT) -> list[DeviceRow]:  # noqa: ANN401  # an SQL expression
        """Return the devices that an SQL condition on `tables.DEVICES` is true of, by site and name."""
        return self._rows(select(DEVICES).where(condition).order_by(DEVICES.c.site, DEVICES.c.device).limit(limit))

    def texts(self, field: str) -> list[str]:
        """Return the different texts that there are of `agent`, or of the `version` of what is served."""
        column = DEVICES.c.agent if field == "agent" else DEVICE_MODELS.c.version
        with reading(self._engine) as connection:
            return [text for text in connection.scalars(select(column).distinct()) if text is not None]

    def _rows(self, query: Select[Any]) -> list[DeviceRow]:
        with reading(self._engine) as connection:
            # a database may order texts as a language does; pages go on where a name of ours comes next
            rows = sorted(connection.execute(query).all(), key=lambda row: (row.site, row.device))
            numbers = [row.id for row in rows]
            served: dict[int, list[ServedModel]] = {number: [] for number in numbers}
            reported: dict[int, int] = {}
            for part in chunks(numbers):
                models = select(DEVICE_MODELS).where(DEVICE_MODELS.c.device_id.in_(part))
                for row in connection.execute(models.order_by(DEVICE_MODELS.c.model)):
                    one = ServedModel(
                        name=row.model,
                        version=row.version,
                        artifact=row.artifact,
                        runtime=row.runtime,
                        seen_ms=row.seen_ms,
                    )
                    served[row.device_id].append(one)
                newest = select(BOOTS.c.device_id, func.max(BOOTS.c.last_ms)).where(BOOTS.c.device_id.in_(part))
                rows_of_boots = connection.execute(newest.group_by(BOOTS.c.device_id))
                reported |= {row[0]: row[1] for row in rows_of_boots}
        return [_row(row, tuple(served[row.id]), reported.get(row.id)) for row in rows]

    # --- the end

    def when_forgotten(self, clear: Callable[[Connection, int], None]) -> None:
        """Have other tables cleared too: called with the number of a device, in the same transaction."""
        self._at_forget.append(clear)

    def forget(self, key: DeviceKey, *, dry_run: bool = False) -> dict[str, int]:
        """Remove a device and all that is stored of it; return how many rows of each table.

        Raises:
            UsageError: if there is no such device.
        """
        with writing(self._engine, *Turn) as connection:
            number = connection.scalar(select(DEVICES.c.id).where(_is(key)))
            if number is None:
                raise UsageError(f"there is no device '{key.site}/{key.device}' in the store")
            gone = {}
            for table in _OWNED:
                mine = table.c.device_id == number
                gone[table.name] = int(connection.scalar(select(func.count()).select_from(table).where(mine)) or 0)
                if not dry_run:
                    connection.execute(delete(table).where(mine))
            if not dry_run:
                for clear in self._at_forget:
                    clear(connection, number)
                connection.execute(delete(DEVICES).where(DEVICES.c.id == number))
                bump_epoch(connection)
        return gone


def _is(key: DeviceKey) -> Any:  # noqa: ANN401  # an SQL expression
    return (DEVICES.c.site == key.site) & (DEVICES.c.device == key.device)


def _row(row: Row[Any], models: tuple[ServedModel, ...], reported_ms: int | None) -> DeviceRow:
    values = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name
    values["labels"], values["hardware"] = json.loads(row.labels), json.loads(row.hardware)
    return DeviceRow(**values, models=models, last_report_ms=reported_ms)
