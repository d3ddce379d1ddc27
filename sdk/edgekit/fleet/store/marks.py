"""Where a reader of the store has come to: small JSON documents by name, kept over restarts."""

import json
from collections.abc import Mapping
from typing import Any

from sqlalchemy import Connection, Engine, select

from edgekit.fleet.store import bulk
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import MARKS


def read_mark(connection: Connection, name: str) -> dict[str, Any]:
    """Return a mark inside the caller's transaction, empty before the first."""
    text = connection.scalar(select(MARKS.c.value).where(MARKS.c.name == name))
    found: dict[str, Any] = json.loads(text) if text else {}
    return found


def keep_mark(connection: Connection, name: str, value: Mapping[str, object]) -> None:
    """Keep a mark inside the caller's transaction."""
    bulk.replace(connection, MARKS, ["name", "value"], [(name, json.dumps(value, separators=(",", ":")))])


class Marks:
    """Reads and keeps marks."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def get(self, name: str) -> dict[str, Any]:
        """Return a mark, empty before the first."""
        with reading(self._engine) as connection:
            return read_mark(connection, name)

    def put(self, name: str, value: Mapping[str, object]) -> None:
        """Keep a mark."""
        with writing(self._engine) as connection:
            keep_mark(connection, name, value)
