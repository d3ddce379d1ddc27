"""What presence needs of the store: when reports came, and where its verdicts go."""

from collections.abc import Sequence
from typing import NamedTuple

from sqlalchemy import Engine, bindparam, func, select, update

from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import BOOTS, DEVICES


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

    def reported_since(self, since_ms: int) -> list[tuple[DeviceKey, int]]:
        """Return the devices whose newest live report came since a moment, and when."""
        query = (
            select(DEVICES.c.site, DEVICES.c.device, func.max(BOOTS.c.live_ms))
            .join(DEVICES, DEVICES.c.id == BOOTS.c.device_id)
            .where(BOOTS.c.live_ms >= since_ms)
            .group_by(DEVICES.c.site, DEVICES.c.device)
        )
        with reading(self._engine) as connection:
            return [(DeviceKey(site, device), int(at_ms)) for site, device, at_ms in connection.execute(query)]

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
