"""Many rows at once, by the driver itself: executemany for SQLite, COPY for PostgreSQL."""

import contextlib
import io
from collections.abc import Iterator, Sequence
from typing import Any, TypeVar

from sqlalchemy import Connection, Table, delete, tuple_

CHUNK = 500  # values in a list of one statement
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
    key = tuple(table.primary_key.columns)
    for part in chunks(rows):
        connection.execute(delete(table).where(tuple_(*key).in_([row[: len(key)] for row in part])))
    _copy(connection, table, columns, rows)


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


def _cell(value: object) -> str:
    if value is None:
        return "\\N"
    if isinstance(value, bytes):
        return "\\\\x" + value.hex()
    if isinstance(value, str):
        return value.translate(_ESCAPED)
    return repr(value)
