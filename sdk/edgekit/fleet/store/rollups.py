"""Minutes and hours out of reports: each report is added once, in the transaction that says so.

`meta.rolled` is the number of the last report that is in the roll-ups. Reports are numbered in the order of commits,
so what comes behind it is the rest; questions add it themselves (`series.py`), exact at any moment.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import msgspec
from sqlalchemy import Connection, Engine, Row, Table, select, tuple_, update

from edgekit.fleet.store import bulk
from edgekit.fleet.store.engine import Turn, writing
from edgekit.fleet.store.merging import merge_packed
from edgekit.fleet.store.sums import Sums, add_up
from edgekit.fleet.store.tables import HOURS, META, MINUTES, REPORTS, STAGES

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
CHUNK = 20_000
MOST = 2**63 - 1
Key = tuple[int, int, int]  # start_ms, device, variant
_LEFT_OUT = {"boot_id", "seq", "ts_ms", "arrived_ms", "history", "statistics"}
_READ = [column for column in REPORTS.columns if column.name not in _LEFT_OUT]
_COLUMNS = [column.name for column in MINUTES.columns]


def rolled_up_to(connection: Connection) -> int:
    """Return the number of the last report that is in the roll-ups; nobody moves it during `Turn.ROLLUPS`."""
    return int(connection.scalars(select(META.c.value).where(META.c.key == "rolled")).one())


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
        with writing(self._engine, Turn.ROLLUPS) as connection:
            done = rolled_up_to(connection)
            query = select(*_READ).where(REPORTS.c.id > done).order_by(REPORTS.c.id).limit(limit)
            rows = connection.execute(query).all()
            if not rows:
                return 0
            parts = _minutes(rows)
            _add_to(connection, MINUTES, MINUTE_MS, parts)
            _add_to(connection, HOURS, HOUR_MS, parts)
            connection.execute(update(META).where(META.c.key == "rolled").values(value=str(rows[-1].id)))
        return len(rows)

    def roll_all(self) -> int:
        """Add every report that waits; return how many."""
        rolled = 0
        while count := self.roll():
            rolled += count
        return rolled


@dataclass(slots=True)
class _Part:
    """What is to be added to a minute or an hour."""

    key: Key
    sums: Sums
    stages: tuple[bytes | None, ...]


def _minutes(rows: Sequence[Row[Any]]) -> list[_Part]:
    """Add reports up by minute, device and variant."""
    columns = dict(zip((one.name for one in _READ), zip(*rows, strict=True), strict=True))
    numbers: dict[Key, int] = {}
    groups: list[int] = []
    for at_ms, device, variant in zip(columns["at_ms"], columns["device_id"], columns["variant_id"], strict=True):
        groups.append(numbers.setdefault((at_ms - at_ms % MINUTE_MS, device, variant), len(numbers)))
    return _parts(numbers, add_up(columns, groups, len(numbers)), groups, [columns[name] for name in STAGES])


def _add_to(connection: Connection, table: Table, step_ms: int, parts: Sequence[_Part]) -> None:
    """Add to the rows of a roll-up."""
    numbers: dict[Key, int] = {}
    sums: list[Sums] = []
    groups: list[int] = []
    for part in parts:
        start_ms, device, variant = part.key
        group = numbers.setdefault((start_ms - start_ms % step_ms, device, variant), len(numbers))
        if group == len(sums):
            sums.append(Sums())
        sums[group].add(part.sums)
        groups.append(group)
    blobs: list[list[bytes | None]] = [[part.stages[at] for part in parts] for at in range(len(STAGES))]
    for some in bulk.chunks(list(numbers)):
        wanted = tuple_(table.c.start_ms, table.c.device_id, table.c.variant_id).in_(some)
        for row in connection.execute(select(table).where(wanted)):
            group = numbers[row.start_ms, row.device_id, row.variant_id]
            sums[group].add_rollup(row)
            groups.append(group)
            for stage, name in zip(blobs, STAGES, strict=True):
                stage.append(getattr(row, name))
    made = [_row(part.key, part.sums, part.stages) for part in _parts(numbers, sums, groups, blobs)]
    bulk.replace(connection, table, _COLUMNS, made)


def _parts(
    numbers: Mapping[Key, int], sums: Sequence[Sums], groups: Sequence[int], blobs: Sequence[Sequence[bytes | None]]
) -> list[_Part]:
    stages = [merge_packed(stage, groups, len(numbers)) for stage in blobs]
    return [_Part(key, sums[at], tuple(stage[at] for stage in stages)) for key, at in numbers.items()]


def _row(key: Key, sums: Sums, stages: Sequence[bytes | None]) -> bulk.Row:
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
    return msgspec.json.encode(table).decode() if table else None
