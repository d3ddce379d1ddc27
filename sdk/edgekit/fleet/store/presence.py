"""What presence needs of the store: when reports came, and where its verdicts go."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, bindparam, func, select, update

from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import DEVICES, REPORTS


class PresenceRow(NamedTuple):
    """A verdict on a device."""

    key: DeviceKey
    presence: str
    reason: str
    since_ms: int


class PresenceRows:
    """Reads arrivals and writes verdicts."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def reported_after(self, cursor: int) -> tuple[list[tuple[DeviceKey, int]], int]:
        """Return of whom live reports were committed after one, when the newest of each came, and the next cursor.

        Args:
            cursor: a report's number, as `Reports.cursor` gives it.
        """
        with reading(self._engine) as connection:
            newest = int(connection.scalar(select(func.max(REPORTS.c.id))) or 0)
            query = (
                select(DEVICES.c.site, DEVICES.c.device, func.max(REPORTS.c.arrived_ms))
                .join(DEVICES, DEVICES.c.id == REPORTS.c.device_id)
                .where(REPORTS.c.id > cursor, REPORTS.c.id <= newest, REPORTS.c.history == 0)
                .group_by(DEVICES.c.site, DEVICES.c.device)
            )
            rows = connection.execute(query).all()
        return [(DeviceKey(site, device), int(at_ms)) for site, device, at_ms in rows], max(cursor, newest)

    def put(self, rows: Sequence[PresenceRow]) -> None:
        """Keep verdicts, all in one transaction."""
        if not rows:
            return
        statement = (
            update(DEVICES)
            .where(DEVICES.c.site == bindparam("s"), DEVICES.c.device == bindparam("d"))
            .values(presence=bindparam("p"), presence_reason=bindparam("r"), presence_since_ms=bindparam("m"))
        )
        values = [
            {"s": one.key.site, "d": one.key.device, "p": one.presence, "r": one.reason, "m": one.since_ms}
            for one in rows
        ]
        with writing(self._engine) as connection:
            connection.execute(statement, values)
