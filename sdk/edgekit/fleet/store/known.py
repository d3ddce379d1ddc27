"""What the writer of reports knows of devices, variants and boots, so that it need not ask for every report.

It holds only while nobody else writes: `meta.epoch` grows when devices are removed, and `meta.writer` names who stored
last. All of it is forgotten when a transaction fails.
"""

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, func, insert, select, tuple_, update
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.bulk import chunks
from edgekit.fleet.store.clocks import Clock
from edgekit.fleet.store.tables import BOOTS, DEVICES, META, VARIANTS
from edgekit.fleet.store.watermark import Watermark

VariantKey = tuple[str, str, str, str, str]  # model, version, artifact, runtime, JSON list of processors
BootKey = tuple[int, str]
BOOT_LIMIT = 300_000


@dataclass(slots=True)
class KnownDevice:
    """A device's number, what is added to its newest clock, and the variant of each of its models."""

    id: int
    add_ms: int | None = None
    serves: dict[str, tuple[int, int]] = field(default_factory=dict)  # model -> variant, when it was said (ms)


@dataclass(slots=True)
class KnownBoot:
    """A boot's number, what is stored of it, and its clock."""

    id: int
    mark: Watermark
    clock: Clock
    last_ms: int


class Known:
    """Numbers of names; unknown devices, variants and boots are made."""

    def __init__(self) -> None:
        """Know nothing."""
        self.me = uuid.uuid4().hex
        self._epoch = ""
        self.devices: dict[DeviceKey, KnownDevice] = {}
        self.variants: dict[VariantKey, int] = {}
        self.boots: dict[BootKey, KnownBoot] = {}

    def forget(self) -> None:
        """Know nothing any more."""
        self._epoch = ""
        self.devices.clear()
        self.variants.clear()
        self.boots.clear()

    def check(self, connection: Connection) -> None:
        """Forget what others may have changed, and say that we are the writer now."""
        found = {row.key: row.value for row in connection.execute(select(META.c.key, META.c.value))}
        if found["epoch"] != self._epoch:
            self.forget()
            self._epoch = found["epoch"]
        if found["writer"] != self.me:
            self.boots.clear()
            connection.execute(update(META).where(META.c.key == "writer").values(value=self.me))
        if len(self.boots) > BOOT_LIMIT:
            self.boots.clear()

    def find_devices(self, connection: Connection, names: Iterable[DeviceKey], now_ms: int, limit: int) -> None:
        """Learn the numbers of devices; new ones are made while there are fewer than the limit."""
        missing = [name for name in dict.fromkeys(names) if name not in self.devices]
        if not missing:
            return
        self._read_devices(connection, missing)
        new = [name for name in missing if name not in self.devices]
        if new:
            make_devices(connection, new, now_ms, limit)
            self._read_devices(connection, new)

    def _read_devices(self, connection: Connection, names: list[DeviceKey]) -> None:
        numbers: dict[int, KnownDevice] = {}
        for part in chunks(names):
            wanted = tuple_(DEVICES.c.site, DEVICES.c.device).in_([tuple(name) for name in part])
            for number, site, device in connection.execute(
                select(DEVICES.c.id, DEVICES.c.site, DEVICES.c.device).where(wanted)
            ):
                numbers[number] = self.devices[DeviceKey(site, device)] = KnownDevice(number)
        for some in chunks(list(numbers)):
            newest = select(BOOTS.c.device_id, BOOTS.c.clock_ms).where(
                BOOTS.c.device_id.in_(some), BOOTS.c.clock_ms.is_not(None)
            )
            for number, add_ms in connection.execute(newest.order_by(BOOTS.c.live_ms)):
                numbers[number].add_ms = add_ms

    def find_variants(self, connection: Connection, keys: Iterable[VariantKey]) -> None:
        """Learn the numbers of variants; new ones are made."""
        missing = [key for key in dict.fromkeys(keys) if key not in self.variants]
        if not missing:
            return
        columns = (
            VARIANTS.c.model,
            VARIANTS.c.version,
            VARIANTS.c.artifact,
            VARIANTS.c.runtime,
            VARIANTS.c.executed_on,
        )
        names = [column.name for column in columns]
        ignoring(connection, VARIANTS, [dict(zip(names, key, strict=True)) for key in missing])
        for part in chunks(missing, 100):
            for number, *key in connection.execute(select(VARIANTS.c.id, *columns).where(tuple_(*columns).in_(part))):
                model, version, artifact, runtime, executed_on = key
                self.variants[model, version, artifact, runtime, executed_on] = number

    def find_boots(self, connection: Connection, keys: Iterable[BootKey], now_ms: int) -> None:
        """Learn the numbers of boots and what is stored of them; new ones are made."""
        missing = [key for key in dict.fromkeys(keys) if key not in self.boots]
        if not missing:
            return
        self._read_boots(connection, missing)
        new = [key for key in missing if key not in self.boots]
        if new:
            rows = [
                {"device_id": number, "boot": boot, "watermark": 0, "above": "", "live_ms": 0, "last_ms": now_ms}
                for number, boot in new
            ]
            connection.execute(insert(BOOTS), rows)
            self._read_boots(connection, new)

    def _read_boots(self, connection: Connection, keys: list[BootKey]) -> None:
        for part in chunks(keys):
            found = connection.execute(select(BOOTS).where(tuple_(BOOTS.c.device_id, BOOTS.c.boot).in_(part)))
            for row in found:
                mark, clock = Watermark.load(row.watermark, row.above), Clock(row.clock_ms, row.live_ms)
                self.boots[row.device_id, row.boot] = KnownBoot(row.id, mark, clock, row.last_ms)


def bump_epoch(connection: Connection) -> None:
    """Tell all writers to forget what they know: something was removed."""
    epoch = int(connection.scalars(select(META.c.value).where(META.c.key == "epoch")).one())
    connection.execute(update(META).where(META.c.key == "epoch").values(value=str(epoch + 1)))


def make_devices(connection: Connection, names: Sequence[DeviceKey], now_ms: int, limit: int) -> bool:
    """Make devices that are not there yet while there are fewer than the limit; return whether all are there then."""
    new = []
    for part in chunks(names):
        wanted = tuple_(DEVICES.c.site, DEVICES.c.device).in_([tuple(name) for name in part])
        there = {tuple(row) for row in connection.execute(select(DEVICES.c.site, DEVICES.c.device).where(wanted))}
        new += [name for name in part if tuple(name) not in there]
    if not new:
        return True
    room = max(0, limit - (connection.scalar(select(func.count()).select_from(DEVICES)) or 0))
    rows: list[dict[str, object]] = [
        {"site": name.site, "device": name.device, "first_seen_ms": now_ms, "last_seen_ms": now_ms}
        for name in sorted(new[:room])  # two who make the same ones do not wait for each other
    ]
    ignoring(connection, DEVICES, rows)
    return len(new) <= room


def numbers_of(connection: Connection, names: Sequence[DeviceKey]) -> dict[DeviceKey, int]:
    """Return the numbers of those devices that are there."""
    found: dict[DeviceKey, int] = {}
    for part in chunks(names):
        wanted = tuple_(DEVICES.c.site, DEVICES.c.device).in_([tuple(name) for name in part])
        rows = connection.execute(select(DEVICES.c.site, DEVICES.c.device, DEVICES.c.id).where(wanted))
        found |= {DeviceKey(site, device): number for site, device, number in rows}
    return found


def ignoring(connection: Connection, table: Table, rows: list[dict[str, object]]) -> int:
    """Insert rows, leaving out those that are there already; return how many were new."""
    if not rows:
        return 0
    statement = (
        postgresql_insert(table) if connection.dialect.name == "postgresql" else sqlite_insert(table)
    ).on_conflict_do_nothing()
    return max(0, connection.execute(statement, rows).rowcount)
