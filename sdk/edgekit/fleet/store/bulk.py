"""Many rows at once, by the driver itself: executemany for SQLite, COPY for PostgreSQL."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table

CHUNK = 500  # values in a list of one statement
PART = 5_000  # rows of one statement
_ESCAPED = str.maketrans({"\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r"})

Row = tuple[Any, ...]
T = TypeVar("T")


def chunks(values: Sequence[T], size: int = CHUNK) -> Iterator[Sequence[T]]:
    """Yield the values in parts that fit into one statement."""
    for begin in range(0, len(values), size):
        yield values[begin : begin + size]


def insert(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows, whose values are None, numbers, text or bytes."""
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, table, columns, rows)
    else:
        execute_many(connection, f"INSERT INTO {_target(table, columns)}", rows)


def replace(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    """Insert rows that take the place of those with the same primary key, whose columns come first."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        execute_many(connection, f"INSERT OR REPLACE INTO {_target(table, columns)}", rows)
        return
    keys = [column.name for column in table.primary_key.columns]
    # in one order, so that no two writers wait for each other; a row that comes twice counts as it came last
    known = {row[: len(keys)]: row for row in rows}
    for part in chunks(sorted(known.values(), key=lambda row: row[: len(keys)]), PART):
        arrays = [_array(values) for values in zip(*part, strict=True)]
        types = ", ".join(f"%s::{table.c[name].type.compile(connection.dialect)}[]" for name in columns)
        others = ", ".join(f"{name} = excluded.{name}" for name in columns if name not in keys)
        what = f"DO UPDATE SET {others}" if others else "DO NOTHING"
        into = f"{table.name} ({', '.join(columns)})"
        with contextlib.closing(connection.connection.cursor()) as cursor:
            source = f"unnest({types}) ON CONFLICT ({', '.join(keys)}) {what}"
            statement = f"INSERT INTO {into} SELECT * FROM {source}"  # noqa: S608  # names of our tables
            cursor.execute(statement, arrays)


def _target(table: Table, columns: Sequence[str]) -> str:
    return f"{table.name} ({', '.join(columns)}) VALUES ({', '.join('?' * len(columns))})"


def execute_many(connection: Connection, statement: str, rows: Sequence[Row]) -> None:
    """Run an SQLite statement for every row."""
    driver: Any = connection.connection.driver_connection
    driver.executemany(statement, rows)


def _copy(connection: Connection, table: Table, columns: Sequence[str], rows: Sequence[Row]) -> None:
    text = "".join(["\t".join([_cell(value) for value in row]) + "\n" for row in rows])
    with contextlib.closing(connection.connection.cursor()) as cursor:
        copied: Any = cursor  # pg8000's takes a stream
        copied.execute(f"COPY {table.name} ({', '.join(columns)}) FROM STDIN", stream=io.BytesIO(text.encode()))


def _array(values: Sequence[Any]) -> str:
    """Return values as the text of an array: the driver's own way looks at every one of them three times."""
    return "{" + ",".join([_element(value) for value in values]) + "}"


def _element(value: object) -> str:
    if value is None:
        return "NULL"
    if isinstance(value, bytes):
        return f'"\\\\x{value.hex()}"'
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    return repr(value)


def _cell(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, str):
        return value.translate(_ESCAPED)
    return repr(value)
