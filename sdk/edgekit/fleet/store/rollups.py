"""Minutes and hours out of reports: each report is added once, in the transaction that says so.

`meta.rolled` is the number of the last report that is in the roll-ups. Reports are numbered in the order of commits,
so what comes behind it is the rest; questions add it themselves (`series.py`), exact at any moment.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from sqlalchemy import Connection, Engine, Row, Table, select, tuple_, update

from edgekit.fleet.store import bulk
from edgekit.fleet.store.engine import writing
from edgekit.fleet.store.merging import merge
from edgekit.fleet.store.packing import pack
from edgekit.fleet.store.tables import GAUGES, HOURS, META, MINUTES, REPORTS, STAGES

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CHUNK = 5_000
MOST = 2**63 - 1
Key = tuple[int, int, int]  # start_ms, device, variant
_COLUMNS = [column.name for column in MINUTES.columns]


@dataclass(slots=True)
class Sums:
    """What is added up beside histograms."""

    reports: int = 0
    window_s: float = 0.0
    inferences: int = 0
    errors: int = 0
    dropped: int = 0
    gauges: dict[str, list[float]] = field(default_factory=dict)  # count, sum, least, most
    error_kinds: dict[str, int] = field(default_factory=dict)

    def add_report(self, row: Row[Any]) -> None:
        """Add a row of reports."""
        self._add(1, row)
        for name in GAUGES:
            value = getattr(row, name)
            if value is not None:
                self._gauge(name, [1, value, value, value])

    def add_rollup(self, row: Row[Any]) -> None:
        """Add a row of a roll-up."""
        self._add(row.reports, row)
        for name, values in (json.loads(row.gauges) if row.gauges else {}).items():
            self._gauge(name, values)

    def _add(self, reports: int, row: Row[Any]) -> None:
        self.reports += reports
        self.window_s += row.window_s
        self.inferences += row.inferences
        self.errors += row.errors
        self.dropped += row.dropped
        if row.error_kinds:
            for name, count in json.loads(row.error_kinds).items():
                self.error_kinds[name] = self.error_kinds.get(name, 0) + count

    def _gauge(self, name: str, values: Sequence[float]) -> None:
        known = self.gauges.get(name)
        if known is None:
            self.gauges[name] = list(values)
            return
        known[0] += values[0]
        known[1] += values[1]
        known[2] = min(known[2], values[2])
        known[3] = max(known[3], values[3])


def rolled_up_to(connection: Connection, *, lock: bool = False) -> int:
    """Return the number of the last report that is in the roll-ups; `lock` keeps other processes from moving it."""
    query = select(META.c.value).where(META.c.key == "rolled")
    return int(connection.scalars(query.with_for_update() if lock else query).one())


class Rollups:
    """Keeps minutes and hours up to date."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def waiting(self) -> tuple[int, int]:
        """Return how many numbers of reports are not rolled up yet, and when the first of them came (ms; 0: none)."""
        with self._engine.connect() as connection:
            done = rolled_up_to(connection)
            first = connection.execute(
                select(REPORTS.c.id, REPORTS.c.arrived_ms).where(REPORTS.c.id > done).order_by(REPORTS.c.id).limit(1)
            ).one_or_none()
            last = connection.scalar(select(REPORTS.c.id).order_by(REPORTS.c.id.desc()).limit(1))
        return (0, 0) if first is None else ((last or 0) - done, first.arrived_ms)

    def roll(self, limit: int = CHUNK) -> int:
        """Add the next reports to their minutes and hours; return how many."""
        with writing(self._engine) as connection:
            done = rolled_up_to(connection, lock=True)
            query = select(REPORTS).where(REPORTS.c.id > done).order_by(REPORTS.c.id).limit(limit)
            rows = connection.execute(query).all()
            if not rows:
                return 0
            _add_to(connection, MINUTES, MINUTE_MS, rows)
            _add_to(connection, HOURS, HOUR_MS, rows)
            connection.execute(update(META).where(META.c.key == "rolled").values(value=str(rows[-1].id)))
        return len(rows)

    def roll_all(self) -> int:
        """Add every report that waits; return how many."""
        rolled = 0
        while count := self.roll():
            rolled += count
        return rolled


def _add_to(connection: Connection, table: Table, step_ms: int, rows: Sequence[Row[Any]]) -> None:
    numbers: dict[Key, int] = {}
    sums: list[Sums] = []
    groups: list[int] = []
    for row in rows:
        key = (row.at_ms - row.at_ms % step_ms, row.device_id, row.variant_id)
        group = numbers.setdefault(key, len(numbers))
        if group == len(sums):
            sums.append(Sums())
        sums[group].add_report(row)
        groups.append(group)
    before: list[Row[Any]] = []
    for part in bulk.chunks(list(numbers)):
        wanted = tuple_(table.c.start_ms, table.c.device_id, table.c.variant_id).in_(part)
        before += connection.execute(select(table).where(wanted)).all()
    for row in before:
        group = numbers[row.start_ms, row.device_id, row.variant_id]
        sums[group].add_rollup(row)
        groups.append(group)
    stages = [_packed([getattr(row, name) for row in (*rows, *before)], groups, len(numbers)) for name in STAGES]
    made = [_row(key, sums[group], [stage[group] for stage in stages]) for key, group in numbers.items()]
    bulk.replace(connection, table, _COLUMNS, made)


def _packed(blobs: list[bytes | None], groups: list[int], count: int) -> list[bytes | None]:
    return [pack(one) for one in merge(blobs, groups, count)]


def _row(key: Key, sums: Sums, stages: list[bytes | None]) -> bulk.Row:
    return (
        *key,
        sums.reports,
        sums.window_s,
        *(min(MOST, max(-MOST, value)) for value in (sums.inferences, sums.errors, sums.dropped)),
        *stages,
        _json(sums.gauges),
        _json(sums.error_kinds),
    )


def _json(table: Mapping[str, object]) -> str | None:
    return json.dumps(table, separators=(",", ":")) if table else None
