"""Totals since the beginning, by group: counters that survive a restart, and outlive the reports they are made of.

A group is a site, hardware, model and version, and the device where devices are told apart. There are at most
`GROUP_LIMIT` of them (`DEVICE_GROUP_LIMIT` with devices): what comes beyond is added to one group named `_overflow`
and counted as `overflowed` by the source `totals`.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from sqlalchemy import Connection, Engine, Row, delete, func, select, tuple_

from edgekit.fleet.store import bulk
from edgekit.fleet.store.counters import add_counts
from edgekit.fleet.store.engine import Turn, reading, writing
from edgekit.fleet.store.marks import keep_mark, read_mark
from edgekit.fleet.store.merging import merge
from edgekit.fleet.store.packing import pack, unpack
from edgekit.fleet.store.series import hardware_name
from edgekit.fleet.store.tables import DEVICES, GAUGES, REPORTS, STAGES, TOTALS, VARIANTS
from edgekit_agent.protocol import ExpHistogram

MARK = "totals"
CHUNK = 5_000
GROUP_LIMIT, DEVICE_GROUP_LIMIT = 1_000, 20_000
LABEL_LIMIT = 128  # characters of a name that a device may choose
OVERFLOW = "_overflow"
MINUTE_MS = 60_000
MOST = 2**63 - 1
_COLUMNS = [column.name for column in TOTALS.columns]
_SUMS = ("reports", "window_s", "inferences", "errors", "dropped")
Gauges = dict[str, list[float]]


class Group(NamedTuple):
    """What reports are added up by; `device` is empty where devices are not told apart."""

    site: str
    hardware: str
    model: str
    version: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalRow:
    """A group's totals from `first_ms` to `last_ms` (arrival); `gauges` are those of the last one or two minutes."""

    group: Group
    first_ms: int
    last_ms: int
    reports: int
    window_s: float
    inferences: int
    errors: int
    dropped: int
    latency: Mapping[str, ExpHistogram]
    gauges: Mapping[str, Sequence[float]]  # count, sum, least, most


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalsState:
    """How far the totals are: `waiting` numbers of reports are not in them yet."""

    by_device: bool
    groups: int
    limit: int
    waiting: int


class Totals:
    """Adds reports to the totals, and reads them."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def roll(self, *, by_device: bool = False, limit: int | None = None) -> int:
        """Add the next reports, at most 5,000; return how many. Each is added once, whoever else does the same.

        Args:
            by_device: tell devices apart.
            limit: how many groups there may be.
        """
        most = limit or (DEVICE_GROUP_LIMIT if by_device else GROUP_LIMIT)
        with writing(self._engine, Turn.TOTALS) as connection:
            mark = read_mark(connection, MARK)
            rows = connection.execute(_new(int(mark.get("cursor", 0)))).all()
            told = {"by_device": by_device, "limit": most}
            if rows:
                adder = _Adder(connection, by_device=by_device, limit=most)
                adder.add(rows)
                add_counts(connection, MARK, {"overflowed": adder.overflowed})
                told["cursor"] = rows[-1].id
            if {**mark, **told} != mark:
                keep_mark(connection, MARK, {**mark, **told})
        return len(rows)

    def roll_all(self, *, by_device: bool = False, limit: int | None = None) -> int:
        """Add every report that waits; return how many."""
        rolled = 0
        while count := self.roll(by_device=by_device, limit=limit):
            rolled += count
        return rolled

    def rows(self) -> list[TotalRow]:
        """Return the totals of all groups, as devices are told apart now or not."""
        with reading(self._engine) as connection:
            by_device = bool(read_mark(connection, MARK).get("by_device"))
            rows = connection.execute(select(TOTALS).where(_told_apart(by_device)).order_by(*TOTALS.primary_key)).all()
        return [_row(row) for row in rows]

    def state(self) -> TotalsState:
        """Return how far the totals are."""
        with reading(self._engine) as connection:
            mark = read_mark(connection, MARK)
            by_device = bool(mark.get("by_device"))
            groups = connection.scalar(select(func.count()).select_from(TOTALS).where(_told_apart(by_device)))
            newest = connection.scalar(select(func.max(REPORTS.c.id)))
        return TotalsState(
            by_device=by_device,
            groups=groups or 0,
            limit=int(mark.get("limit", GROUP_LIMIT)),
            waiting=max(0, (newest or 0) - int(mark.get("cursor", 0))),
        )

    @staticmethod
    def forget(connection: Connection, number: int) -> None:
        """Remove what is told of one device only: `Devices.when_forgotten`."""
        name = select(DEVICES.c.site, DEVICES.c.device).where(DEVICES.c.id == number)
        for site, device in connection.execute(name).all():
            connection.execute(delete(TOTALS).where(TOTALS.c.site == site, TOTALS.c.device == device))


def _told_apart(by_device: bool) -> Any:  # noqa: ANN401  # an SQL expression
    return TOTALS.c.device != "" if by_device else TOTALS.c.device == ""


def _new(cursor: int) -> Any:  # noqa: ANN401  # an SQL statement
    left_out = {"error_kinds", "statistics", "boot_id", "seq"}
    columns = [column for column in REPORTS.columns if column.name not in left_out]
    names = (DEVICES.c.site, DEVICES.c.device, DEVICES.c.hardware, VARIANTS.c.model, VARIANTS.c.version)
    return (
        select(*columns, *names)
        .join(DEVICES, DEVICES.c.id == REPORTS.c.device_id)
        .join(VARIANTS, VARIANTS.c.id == REPORTS.c.variant_id)
        .where(REPORTS.c.id > cursor)
        .order_by(REPORTS.c.id)
        .limit(CHUNK)
    )


class _Adder:
    """Adds rows of reports to the rows of their groups."""

    def __init__(self, connection: Connection, *, by_device: bool, limit: int) -> None:
        self._connection, self._by_device = connection, by_device
        known = connection.execute(select(*TOTALS.primary_key).where(_told_apart(by_device))).all()
        self._known = {Group._make(row) for row in known}
        self._limit = limit
        self._hardware: dict[str, str] = {}
        self.overflowed = 0

    def add(self, rows: Sequence[Row[Any]]) -> None:
        groups = [self._group(row) for row in rows]
        numbers: dict[Group, int] = {}
        of = [numbers.setdefault(group, len(numbers)) for group in groups]
        before: dict[Group, Row[Any]] = {}
        for part in bulk.chunks(list(numbers), 100):
            wanted = tuple_(*TOTALS.primary_key).in_([tuple(group) for group in part])
            before |= {Group._make(row[:5]): row for row in self._connection.execute(select(TOTALS).where(wanted))}
        sums = [_Sums(before.get(group)) for group in numbers]
        for row, number in zip(rows, of, strict=True):
            sums[number].add(row)
        of += [numbers[group] for group in before]
        stages = []
        for name in STAGES:
            blobs = [getattr(row, name) for row in (*rows, *before.values())]
            stages.append([pack(one) for one in merge(blobs, of, len(numbers))])
        made = [
            (*group, *sums[n].values(), *(stage[n] for stage in stages), sums[n].gauges())
            for group, n in numbers.items()
        ]
        bulk.replace(self._connection, TOTALS, _COLUMNS, made)

    def _group(self, row: Row[Any]) -> Group:
        hardware = self._hardware.get(row.hardware)
        if hardware is None:
            hardware = self._hardware[row.hardware] = hardware_name(json.loads(row.hardware))
        names = (text[:LABEL_LIMIT] for text in (hardware, row.model, row.version))
        group = Group._make((row.site, *names, row.device if self._by_device else ""))
        if group not in self._known:
            if len(self._known) >= self._limit:
                self.overflowed += 1
                return Group._make((*[OVERFLOW] * 4, OVERFLOW if self._by_device else ""))
            self._known.add(group)
        return group


class _Sums:
    """What is added up beside histograms: counters never go back, whatever a device says."""

    def __init__(self, row: Row[Any] | None) -> None:
        self._sums: dict[str, float] = {name: getattr(row, name) if row else 0 for name in _SUMS}
        self._first_ms = row.first_ms if row else MOST
        self._last_ms = row.last_ms if row else 0
        self._recent = _Recent(row.gauges if row else None)

    def add(self, row: Row[Any]) -> None:
        self._first_ms, self._last_ms = min(self._first_ms, row.arrived_ms), max(self._last_ms, row.arrived_ms)
        for name in _SUMS:
            self._sums[name] += 1 if name == "reports" else max(0, getattr(row, name))
        if not row.history:
            self._recent.add(row)

    def values(self) -> tuple[float, ...]:
        whole = (min(MOST, value) if name != "window_s" else value for name, value in self._sums.items())
        return (self._first_ms, self._last_ms, *whole)

    def gauges(self) -> str | None:
        return self._recent.text()


class _Recent:
    """Gauges of the newest minute and of the one before."""

    def __init__(self, text: str | None) -> None:
        self._minute, self._now, self._before = json.loads(text) if text else (0, {}, {})

    def add(self, row: Row[Any]) -> None:
        minute = row.arrived_ms // MINUTE_MS
        if minute > self._minute:
            self._before = self._now if minute == self._minute + 1 else {}
            self._minute, self._now = minute, {}
        for name in GAUGES:
            value = getattr(row, name)
            if value is not None:
                _add_values(self._now, name, (1, value, value, value))

    def text(self) -> str | None:
        return json.dumps((self._minute, self._now, self._before), separators=(",", ":")) if self._minute else None

    def merged(self) -> Gauges:
        merged: Gauges = {}
        for part in (self._before, self._now):
            for name, values in part.items():
                _add_values(merged, name, values)
        return merged


def _add_values(gauges: Gauges, name: str, values: Sequence[float]) -> None:
    known = gauges.get(name)
    if known is None:
        gauges[name] = list(values)
    else:
        joined = (known[0] + values[0], known[1] + values[1], min(known[2], values[2]), max(known[3], values[3]))
        gauges[name] = list(joined)


def _row(row: Row[Any]) -> TotalRow:
    return TotalRow(
        group=Group._make(row[:5]),
        first_ms=row.first_ms,
        last_ms=row.last_ms,
        **{name: getattr(row, name) for name in _SUMS},
        latency={name: unpack(blob) for name in STAGES if (blob := getattr(row, name)) is not None},
        gauges=_Recent(row.gauges).merged(),
    )
