"""The audit log in the database: see `edgekit.fleet.audit`."""

import json
from collections.abc import Iterator, Sequence

from sqlalchemy import Connection, Engine, RowMapping, insert, select

from edgekit.errors import GateError
from edgekit.fleet.audit import FIRST, Entry, Verified
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import AUDIT

LIMIT = 1_000
_PART = 1_000


def append(connection: Connection, entries: Sequence[Entry]) -> None:
    """Write entries in the caller's transaction (`Turn.SERVICE`): the deed and its record are there, or neither is."""
    if not entries:
        return
    previous = connection.scalar(select(AUDIT.c.digest).order_by(AUDIT.c.id.desc()).limit(1)) or FIRST
    rows = []
    for entry in entries:
        previous = entry.digested(previous)
        rows.append(
            {
                "at_ms": entry.at_ms,
                "who": entry.who,
                "action": entry.action,
                "subject": entry.subject,
                "detail": json.dumps(entry.detail, sort_keys=True, separators=(",", ":")),
                "digest": previous,
            }
        )
    connection.execute(insert(AUDIT), rows)


class Audit:
    """Reads the log, and checks it."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def add(self, *entries: Entry) -> None:
        """Append entries, in a transaction of their own."""
        with writing(self._engine) as connection:
            append(connection, entries)

    def entries(self, *, subject: str | None = None, before: int | None = None, limit: int = LIMIT) -> list[Entry]:
        """Return the newest entries, newest first: about a subject, and before an entry's number."""
        query = select(AUDIT).order_by(AUDIT.c.id.desc()).limit(limit)
        if subject is not None:
            query = query.where(AUDIT.c.subject == subject)
        if before is not None:
            query = query.where(AUDIT.c.id < before)
        with reading(self._engine) as connection:
            return [_entry(row) for row in connection.execute(query).mappings()]

    def verify(self, noted: str | None = None) -> Verified:
        """Check every entry.

        Args:
            noted: a digest that was noted before and has to be in the chain.

        Raises:
            GateError: naming the first entry that does not fit, or that the noted one is not there.
        """
        previous, count, found = FIRST, 0, noted in {None, FIRST}
        with reading(self._engine) as connection:
            for entry in _all(connection):
                previous, count = entry.digested(previous), count + 1
                found = found or previous == noted
                if previous != entry.digest:
                    error = GateError(f"the audit log was changed: entry {entry.id} does not follow from those before")
                    error.add_note(f"the {count - 1} entries before it are as they were written")
                    raise error
        if not found:
            error = GateError("the noted digest is not in the audit log: its end was cut off, or it is another log")
            error.add_note(f"the log has {count} entries")
            raise error
        return Verified(entries=count, head=previous)


def _all(connection: Connection) -> Iterator[Entry]:
    number = 0
    while True:
        query = select(AUDIT).where(AUDIT.c.id > number).order_by(AUDIT.c.id).limit(_PART)
        part = [_entry(row) for row in connection.execute(query).mappings()]
        if not part:
            return
        yield from part
        number = part[-1].id


def _entry(row: RowMapping) -> Entry:
    values = {**row, "detail": json.loads(str(row["detail"]))}
    return Entry(**values)
