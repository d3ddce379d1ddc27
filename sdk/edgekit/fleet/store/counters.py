"""What became of every message: those received are stored, duplicate, rejected or throttled, each once.

`decoded` could be read; `throttled` were beyond what is taken of one device: reports among them are not acknowledged,
and come again. `dropped` never came so far, because there was no room for them.
"""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection, Engine, func, select
from sqlalchemy.dialects.postgresql import insert as postgresql_insert
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import COUNTERS

NAMES = ("received", "decoded", "stored", "duplicate", "rejected", "throttled", "dropped")
"""Counters that are always told, also while they are 0."""


class Counted(NamedTuple):
    """What became of messages, to be added to the counters of a source together with what they hold."""

    source: str
    counts: Mapping[str, int]


def add_counts(connection: Connection, source: str, counted: Mapping[str, int]) -> None:
    """Add to the counters of a source, inside the caller's transaction."""
    rows = [{"source": source, "name": name, "value": count} for name, count in sorted(counted.items()) if count]
    if not rows:
        return
    statement = postgresql_insert(COUNTERS) if connection.dialect.name == "postgresql" else sqlite_insert(COUNTERS)
    summed = statement.on_conflict_do_update(
        index_elements=["source", "name"], set_={"value": COUNTERS.c.value + statement.excluded.value}
    )
    connection.execute(summed, rows)


class Counters:
    """Reads and adds to the counters of the store."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def add(self, source: str, counted: Mapping[str, int]) -> None:
        """Add to the counters of a source."""
        if any(counted.values()):
            with writing(self._engine) as connection:
                add_counts(connection, source, counted)

    def total(self) -> dict[str, int]:
        """Return each counter over all sources."""
        with reading(self._engine) as connection:
            query = select(COUNTERS.c.name, func.sum(COUNTERS.c.value)).group_by(COUNTERS.c.name)
            found = {name: int(value) for name, value in connection.execute(query)}
        return {**dict.fromkeys(NAMES, 0), **found}

    def by_source(self) -> dict[str, dict[str, int]]:
        """Return the counters of each source."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(COUNTERS.c.source, COUNTERS.c.name, COUNTERS.c.value)).all()
        counters: dict[str, dict[str, int]] = {}
        for source, name, value in rows:
            counters.setdefault(source, dict.fromkeys(NAMES, 0))[name] = value
        return counters
