"""Connections to PostgreSQL: both sides notice when the other is gone, and say so in the one way that is known.

A host that is gone without a word is noticed within half a minute by both sides: what it had locked is let go.
"""

import contextlib
import socket
from typing import Any

import pg8000
from sqlalchemy import Engine, create_engine, event
from sqlalchemy.engine import URL

CONNECT_S = 5.0
ALIVE_S = {"idle": 10, "interval": 5, "count": 3}
SILENT_MS = 25_000
IDLE_MS = 60_000  # in the middle of a transaction: a process that was stopped holds up the others
_OPTIONS = {"idle": "TCP_KEEPIDLE", "interval": "TCP_KEEPINTVL", "count": "TCP_KEEPCNT"}


class Connection(pg8000.Connection):  # type: ignore[misc]  # the driver has no types
    """A connection that says `network error` whenever that is so, which the pool knows how to mend."""

    def handle_messages(self, context: object) -> None:
        """Read an answer; the driver lets an error of the first read through as it is."""
        try:
            super().handle_messages(context)
        except OSError as exc:
            raise pg8000.InterfaceError("network error") from exc


def engine(place: URL, connections: int) -> Engine:
    """Return an engine that keeps so many connections."""
    made = create_engine(
        place,
        pool_size=connections,
        max_overflow=connections,
        pool_pre_ping=True,
        connect_args={"application_name": "edgekit"},
    )
    event.listen(made, "do_connect", _connect)
    event.listen(made, "connect", _set)
    return made


def _connect(_dialect: object, _record: object, _arguments: object, named: dict[str, Any]) -> Connection:
    if "unix_sock" in named or not named.get("host"):
        return Connection(**named)
    return Connection(**named, sock=_socket(named["host"], named.get("port", 5432)))


def _set(connection: Any, _record: object) -> None:  # noqa: ANN401  # the driver's
    settings = {f"tcp_keepalives_{name}": value for name, value in ALIVE_S.items()}
    settings |= {"tcp_user_timeout": SILENT_MS, "idle_in_transaction_session_timeout": IDLE_MS}
    calls = [f"set_config('{name}', '{value}', false)" for name, value in settings.items()]
    with contextlib.closing(connection.cursor()) as cursor:
        cursor.execute(f"SELECT {', '.join(calls)}")
    connection.commit()


def _socket(host: str, port: int) -> socket.socket:
    """Connect in time. The driver's own limit would be one of every statement: 5 s for a question about a year."""
    try:
        made = socket.create_connection((host, port), timeout=CONNECT_S)
    except OSError as exc:
        raise pg8000.InterfaceError(f"{host}:{port}: {exc.strerror or exc}") from exc
    made.settimeout(None)
    made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    wanted = {_OPTIONS[name]: value for name, value in ALIVE_S.items()} | {"TCP_USER_TIMEOUT": SILENT_MS}
    for option, value in wanted.items():
        if hasattr(socket, option):  # not on every system
            made.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), value)
    return made
