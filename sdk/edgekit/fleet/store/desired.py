"""What each device is wanted to be: one row a device, from which its retained message is made.

A row is written before anything is published, and stays unpublished until the broker has taken it, so nothing that
was decided is forgotten when the service ends in between. Versions only grow, beyond what the device has told too.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import ColumnElement, Connection, Engine, RowMapping, bindparam, delete, select, tuple_, update

from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.bulk import chunks, replace
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import DESIRED, DEVICES, ROLLOUT_HOLDS
from edgekit_agent.protocol import Desired, DesiredModel

_COLUMNS = ("site", "device", "v", "published_v", "models", "conf", "rollout", "lease_s", "changed_ms")


@dataclass(frozen=True, slots=True, kw_only=True)
class Wish:
    """A change of what a device is wanted to be; None leaves a part as it is.

    Attributes:
        model: a release, as `DesiredModel` has it; it takes the place of another of that name.
        without: a model that nothing is wanted of any more.
        conf: the whole configuration.
        rollout: of which rollout it is; empty for none.
        lease_s: whether the device has to ask before it goes on; 0 for not.
    """

    key: DeviceKey
    model: Mapping[str, object] | None = None
    without: str | None = None
    conf: Mapping[str, object] | None = None
    rollout: str | None = None
    lease_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredRow:
    """What a device is wanted to be."""

    key: DeviceKey
    v: int
    published_v: int = 0
    models: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    conf: Mapping[str, object] = field(default_factory=dict)
    rollout: str = ""
    lease_s: float = 0.0
    changed_ms: int = 0

    def message(self) -> Desired:
        """Return the message for the device."""
        return Desired(
            version=self.v,
            models=tuple(DesiredModel(**model) for _, model in sorted(self.models.items())),  # type: ignore[arg-type]  # as `Wish` took it
            configuration=self.conf,
            rollout=self.rollout or None,
            lease_s=self.lease_s or None,
        )


class DesiredStates:
    """Reads and changes them."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def put(self, wishes: Sequence[Wish], now_ms: int) -> dict[DeviceKey, int]:
        """Change them, in a transaction of its own; return the version of each."""
        with writing(self._engine) as connection:
            return wish(connection, wishes, now_ms)

    @staticmethod
    def forget(connection: Connection, number: int) -> None:
        """Want nothing of a device any more, and let it go from its rollout: `Devices.when_forgotten`."""
        name = select(DEVICES.c.site, DEVICES.c.device).where(DEVICES.c.id == number)
        for site, device in connection.execute(name).all():
            for table in (DESIRED, ROLLOUT_HOLDS):
                connection.execute(delete(table).where(table.c.site == site, table.c.device == device))

    def get(self, key: DeviceKey) -> DesiredRow | None:
        """Return what a device is wanted to be."""
        with reading(self._engine) as connection:
            return _rows(connection, [key]).get(key)

    def pending(self) -> list[DesiredRow]:
        """Return those that the broker has not taken yet."""
        return self._where(DESIRED.c.published_v < DESIRED.c.v)

    def all(self) -> list[DesiredRow]:
        """Return all, for a broker that may have forgotten them."""
        return self._where(DESIRED.c.v > 0)

    def _where(self, condition: ColumnElement[bool]) -> list[DesiredRow]:
        with reading(self._engine) as connection:
            return [_row(row) for row in connection.execute(select(DESIRED).where(condition)).mappings()]

    def published(self, rows: Sequence[DesiredRow]) -> None:
        """Note that the broker has taken them; a newer one stays to be published."""
        if not rows:
            return
        mine = (
            (DESIRED.c.site == bindparam("s")) & (DESIRED.c.device == bindparam("d")) & (DESIRED.c.v == bindparam("n"))
        )
        values = [{"s": row.key.site, "d": row.key.device, "n": row.v} for row in rows]
        with writing(self._engine) as connection:
            connection.execute(update(DESIRED).where(mine).values(published_v=DESIRED.c.v), values)


def wish(connection: Connection, wishes: Sequence[Wish], now_ms: int) -> dict[DeviceKey, int]:
    """Change what devices are wanted to be in the caller's transaction; return the version of each."""
    keys = [one.key for one in wishes]
    rows, told = _rows(connection, keys), _told(connection, keys)
    for one in wishes:
        before = rows.get(one.key) or DesiredRow(key=one.key, v=0)
        models = dict(before.models)
        if one.model is not None:
            models[str(one.model["name"])] = one.model
        if one.without is not None:
            models.pop(one.without, None)
        rows[one.key] = DesiredRow(
            key=one.key,
            v=max(before.v, told.get(one.key, 0)) + 1,
            published_v=before.published_v,
            models=models,
            conf=before.conf if one.conf is None else one.conf,
            rollout=before.rollout if one.rollout is None else one.rollout,
            lease_s=before.lease_s if one.lease_s is None else one.lease_s,
            changed_ms=now_ms,
        )
    changed = [rows[key] for key in dict.fromkeys(keys)]
    replace(connection, DESIRED, _COLUMNS, [_values(row) for row in changed])
    return {row.key: row.v for row in changed}


def _rows(connection: Connection, keys: Sequence[DeviceKey]) -> dict[DeviceKey, DesiredRow]:
    found: dict[DeviceKey, DesiredRow] = {}
    for part in chunks(list(keys), 200):
        query = select(DESIRED).where(tuple_(DESIRED.c.site, DESIRED.c.device).in_([tuple(key) for key in part]))
        found |= {row.key: row for row in map(_row, connection.execute(query).mappings())}
    return found


def _told(connection: Connection, keys: Sequence[DeviceKey]) -> dict[DeviceKey, int]:
    """Return the versions that devices have told of: another host, or another store, may have gone further."""
    found: dict[DeviceKey, int] = {}
    columns = (DEVICES.c.site, DEVICES.c.device, DEVICES.c.reported_version)
    for part in chunks(list(keys), 200):
        query = select(*columns).where(tuple_(DEVICES.c.site, DEVICES.c.device).in_([tuple(key) for key in part]))
        found |= {DeviceKey(row[0], row[1]): row[2] or 0 for row in connection.execute(query)}
    return found


def _row(row: RowMapping) -> DesiredRow:
    values = dict(row)
    key = DeviceKey(str(values.pop("site")), str(values.pop("device")))
    values["models"], values["conf"] = json.loads(str(row["models"])), json.loads(str(row["conf"]))
    return DesiredRow(key=key, **values)


def _values(row: DesiredRow) -> tuple[object, ...]:
    models, conf = (json.dumps(value, sort_keys=True, separators=(",", ":")) for value in (row.models, row.conf))
    return (*row.key, row.v, row.published_v, models, conf, row.rollout, row.lease_s, row.changed_ms)
