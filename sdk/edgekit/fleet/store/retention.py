"""What is old leaves: reports first, then minutes, then hours. A part at a time, so that writers wait for moments."""

from dataclasses import dataclass

from sqlalchemy import Connection, Engine, Table, delete, func, select

from edgekit.errors import UsageError
from edgekit.fleet.store.engine import Turn, writing
from edgekit.fleet.store.known import bump_epoch
from edgekit.fleet.store.marks import read_mark
from edgekit.fleet.store.rollups import HOUR_MS, rolled_up_to
from edgekit.fleet.store.tables import BOOTS, EVENTS, HOURS, MINUTES, REPORTS
from edgekit.fleet.store.totals import MARK

CHUNK = 5_000
DAY_MS = 86_400_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Keep:
    """How long things stay. Boots stay longest of all that is needed to know a report again."""

    reports_h: float = 24.0
    minutes_d: float = 30.0
    hours_d: float = 730.0
    events_d: float = 90.0
    boots_d: float = 180.0

    def __post_init__(self) -> None:
        """Check the values.

        Raises:
            UsageError: if one is not above 0.
        """
        for name in ("reports_h", "minutes_d", "hours_d", "events_d", "boots_d"):
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} is {getattr(self, name)}: it must be more than 0")


class Retention:
    """Removes what is older than is kept."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def apply(self, keep: Keep, now_ms: int) -> dict[str, int]:
        """Remove what is too old; return how many rows of each table.

        Reports stay until roll-ups and totals have them.
        """
        return {
            "reports": self._reports(now_ms - int(keep.reports_h * HOUR_MS)),
            "minutes": self._rollup(MINUTES, now_ms - int(keep.minutes_d * DAY_MS)),
            "hours": self._rollup(HOURS, now_ms - int(keep.hours_d * DAY_MS)),
            "events": self._older(EVENTS, "arrived_ms", now_ms - int(keep.events_d * DAY_MS)),
            "boots": self._older(BOOTS, "last_ms", now_ms - int(keep.boots_d * DAY_MS)),
        }

    def _reports(self, before_ms: int) -> int:
        removed = 0
        while True:
            with writing(self._engine, Turn.ROLLUPS) as connection:
                query = select(REPORTS.c.id, REPORTS.c.arrived_ms).where(REPORTS.c.id <= _taken(connection))
                rows = connection.execute(query.order_by(REPORTS.c.id).limit(CHUNK)).all()
                # they are numbered as they came, so the first that is young enough ends it
                old = next((at for at, row in enumerate(rows) if row.arrived_ms >= before_ms), len(rows))
                if not old:
                    return removed
                connection.execute(delete(REPORTS).where(REPORTS.c.id <= rows[old - 1].id))
                removed += old

    def _rollup(self, table: Table, before_ms: int) -> int:
        removed = 0
        while True:
            with writing(self._engine, Turn.ROLLUPS) as connection:
                first = connection.scalar(select(func.min(table.c.start_ms)))
                if first is None or first >= before_ms:
                    return removed
                part = delete(table).where(table.c.start_ms < min(before_ms, first + HOUR_MS))
                removed += connection.execute(part).rowcount

    def _older(self, table: Table, column: str, before_ms: int) -> int:
        removed = 0
        while True:
            with writing(self._engine, Turn.REPORTS if table is BOOTS else Turn.SERVICE) as connection:
                some = select(table.c.id).where(table.c[column] < before_ms).limit(CHUNK)
                count = connection.execute(delete(table).where(table.c.id.in_(some))).rowcount
                if table is BOOTS and count:
                    bump_epoch(connection)
                removed += count
                if count < CHUNK:
                    return removed


def _taken(connection: Connection) -> int:
    """Return the number of the last report that is in the roll-ups, and in the totals where any are kept."""
    totals = read_mark(connection, MARK)
    rolled = rolled_up_to(connection)
    return min(rolled, int(totals.get("cursor", 0))) if totals else rolled
