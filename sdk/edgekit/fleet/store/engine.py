"""The database behind a store's URL: SQLite in one file, or PostgreSQL."""

import contextlib
import getpass
import os
import sqlite3
import time
from collections.abc import Iterator
from enum import IntEnum
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError

from edgekit.errors import DataError, DeviceError, EdgeKitError, EnvironmentMissingError, UsageError
from edgekit.fleet.store import postgresql

FORMS = "sqlite:///PATH or postgresql://[user[:password]@]host[:port]/database"
BUSY_S = 30.0
CONNECTIONS = 8


class Turn(IntEnum):
    """Who writes one after another; SQLite has one writer anyway. PostgreSQL locks by these numbers, lowest first.

    `SERVICE` is everything that is read, changed and written: desired states, rollouts, alerts, the audit log. With
    `REPORTS` the numbers of reports grow in the order of commits: who has read up to a number has missed nothing.
    """

    SERVICE = 0x656B30
    REPORTS = 0x656B31
    ROLLUPS = 0x656B32
    TOTALS = 0x656B33


def parse(url: str) -> URL:
    """Read a store's URL.

    Raises:
        UsageError: if it is of no form that is known.
    """
    try:
        found = make_url(url)
        kind = found.get_backend_name()
    except (ArgumentError, ValueError, NoSuchModuleError):
        raise _wrong(url) from None
    if kind == "postgresql" and found.database and found.drivername in {"postgresql", "postgresql+pg8000"}:
        # without a user it is who asks, as for PostgreSQL's own programs
        return found.set(drivername="postgresql+pg8000", username=found.username or getpass.getuser())
    if found.drivername == "sqlite" and found.database and found.database != ":memory:" and not found.host:
        return found
    raise _wrong(url)


def _wrong(url: str) -> UsageError:
    # what stands before an '@' may hold a password
    shown = url.rpartition("@")[2] if "@" in url else url
    return UsageError(f"store '{shown[:200]}' is not of the form {FORMS}")


def shown(url: URL) -> str:
    """Return the URL without its password, as a user writes it."""
    return url.render_as_string(hide_password=True).replace("postgresql+pg8000", "postgresql")


def connect(url: str) -> Engine:
    """Return an engine whose database answers.

    Raises:
        UsageError: if the URL is of no form that is known.
        EnvironmentMissingError: if the file cannot be made or written here.
        DataError: if the file is no database.
        DeviceError: if the database server does not answer or refuses.
    """
    place = parse(url)
    engine = _sqlite(place) if place.get_backend_name() == "sqlite" else postgresql.engine(place, CONNECTIONS)
    try:
        with engine.connect() as connection:
            connection.execute(text("SELECT 1"))
        if place.get_backend_name() == "sqlite":
            Path(place.database or "").chmod(0o600)
    except (DBAPIError, OSError) as exc:
        engine.dispose()
        raise unreachable(url, exc) from exc
    return engine


def unreachable(url: str, exc: Exception) -> EdgeKitError:
    """Return the error of a database that cannot be used."""
    place = parse(url)
    reason = first_line(exc)
    if place.get_backend_name() == "sqlite":
        if is_away(exc):
            return EnvironmentMissingError(f"the store '{place.database}' cannot be used: {reason}")
        damaged = DataError(f"the store '{place.database}' cannot be used: {reason}")
        damaged.add_note("put a copy of it back, or move it away: a new one is made")
        return damaged
    error = DeviceError(f"the store {shown(place)} does not answer: {reason}")
    error.add_note("check that PostgreSQL runs there, and user, password and database of the URL")
    return error


def _make(path: Path) -> None:
    """Make the file, readable for its owner alone.

    One that is there is not opened: to close it would take the locks of this process's other connections away.
    """
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))


def _log_ahead(connection: sqlite3.Connection) -> None:
    """Have SQLite write ahead; while another changes a new file to that, SQLite itself does not wait."""
    end = time.monotonic() + BUSY_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as exc:
            if "locked" not in str(exc) or time.monotonic() > end:
                raise
            time.sleep(0.02)
        else:
            return


def _sqlite(place: URL) -> Engine:
    path = Path(place.database or "")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make(path)
    except OSError as exc:
        raise EnvironmentMissingError(f"the store '{path}' cannot be written: {exc.strerror}") from exc
    engine = create_engine(place, pool_size=CONNECTIONS, max_overflow=CONNECTIONS, connect_args={"timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def connected(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's
        connection.isolation_level = None  # SQLAlchemy's begin decides, see below
        _log_ahead(connection)
        # FULL: what was acknowledged survives a power cut too
        for pragma in ("synchronous=FULL", "wal_autocheckpoint=8000", "cache_size=-65536"):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(engine, "begin")
    def begun(connection: Connection) -> None:
        # a reader that becomes a writer would fail when another has written since
        writes = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


@contextlib.contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """Give a connection on which everything is read as it is at one moment."""
    with engine.connect() as connection:
        if connection.dialect.name == "postgresql":
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        yield connection


@contextlib.contextmanager
def writing(engine: Engine, *turns: Turn) -> Iterator[Connection]:
    """Give a connection whose work is committed as a whole when the block ends, or not at all.

    Args:
        engine: the database.
        turns: what nobody else writes meanwhile, `Turn.SERVICE` unless said.
    """
    with engine.connect().execution_options(writes=True) as connection, connection.begin():
        if connection.dialect.name == "postgresql":
            for turn in sorted(turns or (Turn.SERVICE,)):  # in one order, so that no two wait for each other
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({turn.value})")
        try:
            yield connection
        except DBAPIError:
            raise
        except BaseException as exc:
            # the driver may have been cut off in the middle of a message: such a connection is not used again
            connection.invalidate(exc)
            raise


def first_line(exc: Exception) -> str:
    """Return what a database's error says, short."""
    cause = getattr(exc, "orig", exc)
    told = cause.args[0].get("M", cause) if cause.args and isinstance(cause.args[0], dict) else cause
    return (str(told).strip().splitlines() or [type(exc).__name__])[0][:300]


def is_away(exc: Exception) -> bool:
    """Whether the database is not there at the moment, or has no room: it may be later."""
    cause = exc.orig if isinstance(exc, DBAPIError) else exc
    told = cause.args[0] if cause is not None and cause.args else None
    if isinstance(told, dict):  # PostgreSQL's own word: connection, resources, operator, conflicts, was idle
        code = str(told.get("C", ""))
        return code[:2] in {"08", "53", "57", "40"} or code in {"25P03", "55P03"}
    if isinstance(exc, DBAPIError) and exc.connection_invalidated:
        return True
    return isinstance(cause, OSError) or type(cause).__name__ in {"OperationalError", "InterfaceError"}
