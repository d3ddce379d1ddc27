"""Who may use the service: users with hashed passwords, sessions by the hash of their id, tokens by their own hash."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Connection, Engine, Row, and_, delete, func, insert, or_, select, update

from edgekit.errors import DataError
from edgekit.fleet import _clock
from edgekit.fleet.audit import Entry
from edgekit.fleet.store.audit import append
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import SESSIONS, TOKENS, USERS

SESSIONS_A_SUBJECT = 20
LOCAL = "local"
"""Who changes something on the machine of the store, by the command line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UserRow:
    """A user; `password` is its hash."""

    name: str
    password: str
    role: str
    created_ms: int
    login_ms: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRow:
    """A token as it is kept: its secret is not; `scope` is a filter of the devices it is for, None for all."""

    id: str
    name: str
    role: str
    created_ms: int
    created_by: str
    expires_ms: int | None = None
    used_ms: int | None = None
    scope: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionRow:
    """A session; `kind` is how it was opened (user, token, local) and `subject` the user's name or the token's id."""

    id: str
    kind: str
    subject: str
    created_ms: int
    seen_ms: int
    expires_ms: int
    address: str


_TOKEN_COLUMNS = tuple(TOKENS.c[name] for name in TokenRow.__slots__)


class Accounts:
    """Users, sessions and tokens in the store; `by` says in the audit log who changed them."""

    def __init__(self, engine: Engine, now_ms: Callable[[], int] = _clock.now_ms) -> None:
        """Work on the database of `engine`; `now_ms` tells the time."""
        self._engine, self._now_ms = engine, now_ms

    def has_users(self) -> bool:
        """Whether there is any user."""
        with reading(self._engine) as connection:
            return connection.scalar(select(USERS.c.name).limit(1)) is not None

    def users(self) -> list[UserRow]:
        """Return all users by name."""
        with reading(self._engine) as connection:
            return [_user(row) for row in connection.execute(select(USERS).order_by(USERS.c.name))]

    def user(self, name: str) -> UserRow | None:
        """Return a user."""
        with reading(self._engine) as connection:
            row = connection.execute(select(USERS).where(USERS.c.name == name)).one_or_none()
        return _user(row) if row else None

    def add_user(self, name: str, password: str, role: str, *, by: str = LOCAL) -> None:
        """Add a user with a hashed password.

        Raises:
            DataError: There is one of that name.
        """
        with writing(self._engine) as connection:
            if connection.scalar(select(USERS.c.name).where(USERS.c.name == name)) is not None:
                raise DataError(f"there is a user '{name}' already")
            connection.execute(insert(USERS).values(name=name, password=password, role=role, created_ms=self._now_ms()))
            self._noted(connection, by, "user-added", f"user {name}", role=role)

    def change_user(self, name: str, *, password: str | None = None, role: str | None = None, by: str = LOCAL) -> None:
        """Change a user's hashed password or role; open sessions end.

        Raises:
            DataError: There is no such user, or no other admin.
        """
        changes = {"password": password, "role": role}
        with writing(self._engine) as connection:
            _user_must_be(connection, name)
            if role is not None and role != "admin":
                _admin_must_remain(connection, name)
            connection.execute(
                update(USERS).where(USERS.c.name == name).values({k: v for k, v in changes.items() if v is not None})
            )
            connection.execute(delete(SESSIONS).where(_of("user", name)))
            told = {} if role is None else {"role": role}
            self._noted(connection, by, "user-changed", f"user {name}", password=password is not None, **told)

    def renew_hash(self, name: str, password: str) -> None:
        """Keep the same password's hash with today's costs."""
        with writing(self._engine) as connection:
            connection.execute(update(USERS).where(USERS.c.name == name).values(password=password))

    def remove_user(self, name: str, *, by: str = LOCAL) -> None:
        """Remove a user and their sessions.

        Raises:
            DataError: There is no such user, or no other admin.
        """
        with writing(self._engine) as connection:
            _user_must_be(connection, name)
            if connection.scalar(select(func.count()).select_from(USERS)) != 1:
                _admin_must_remain(connection, name)
            connection.execute(delete(USERS).where(USERS.c.name == name))
            connection.execute(delete(SESSIONS).where(_of("user", name)))
            self._noted(connection, by, "user-removed", f"user {name}")

    def tokens(self) -> list[TokenRow]:
        """Return all tokens, oldest first."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(*_TOKEN_COLUMNS).order_by(TOKENS.c.created_ms, TOKENS.c.id))
            return [_token(row) for row in rows]

    def add_token(self, token: TokenRow, digest: str) -> None:
        """Keep a new token by the hash of its secret."""
        values = {name: getattr(token, name) for name in TokenRow.__slots__}
        with writing(self._engine) as connection:
            connection.execute(insert(TOKENS).values(**values, digest=digest))
            told = {"name": token.name, "role": token.role, "expires_ms": token.expires_ms, "scope": token.scope}
            self._noted(connection, token.created_by, "token-made", f"token {token.id}", **told)

    def token_by(self, *, digest: str | None = None, number: str | None = None) -> TokenRow | None:
        """Return the token of a secret's hash or of an id, unless it is over."""
        which = TOKENS.c.digest == digest if digest is not None else TOKENS.c.id == number
        valid = or_(TOKENS.c.expires_ms.is_(None), TOKENS.c.expires_ms > self._now_ms())
        with reading(self._engine) as connection:
            row = connection.execute(select(*_TOKEN_COLUMNS).where(and_(which, valid))).one_or_none()
        return _token(row) if row else None

    def token_used(self, number: str) -> None:
        """Note that a token was used now."""
        with writing(self._engine) as connection:
            connection.execute(update(TOKENS).where(TOKENS.c.id == number).values(used_ms=self._now_ms()))

    def revoke_token(self, number: str, *, by: str = LOCAL) -> None:
        """Remove a token and the sessions opened with it.

        Raises:
            DataError: There is none of that id.
        """
        with writing(self._engine) as connection:
            if not connection.execute(delete(TOKENS).where(TOKENS.c.id == number)).rowcount:
                raise DataError(f"there is no token '{number}'")
            connection.execute(delete(SESSIONS).where(_of("token", number)))
            self._noted(connection, by, "token-revoked", f"token {number}")

    def _noted(self, connection: Connection, by: str, action: str, subject: str, **detail: object) -> None:
        append(connection, [Entry(at_ms=self._now_ms(), who=by, action=action, subject=subject, detail=detail)])

    def open_session(self, session: SessionRow) -> None:
        """Keep a new session; those that are over leave, and of too many of one subject the oldest."""
        values = {name: getattr(session, name) for name in SessionRow.__slots__}
        same = _of(session.kind, session.subject)
        with writing(self._engine) as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.expires_ms <= self._now_ms()))
            newest = select(SESSIONS.c.id).where(same).order_by(SESSIONS.c.created_ms.desc())
            kept = list(connection.scalars(newest.limit(SESSIONS_A_SUBJECT - 1)))
            connection.execute(delete(SESSIONS).where(and_(same, SESSIONS.c.id.not_in(kept))))
            connection.execute(insert(SESSIONS).values(**values))
            if session.kind == "user":
                signed_in = update(USERS).where(USERS.c.name == session.subject)
                connection.execute(signed_in.values(login_ms=session.created_ms))

    def session(self, number: str, idle_ms: int) -> SessionRow | None:
        """Return a session that is neither over nor was idle for too long."""
        now = self._now_ms()
        valid = and_(SESSIONS.c.id == number, SESSIONS.c.expires_ms > now, SESSIONS.c.seen_ms > now - idle_ms)
        with reading(self._engine) as connection:
            row = connection.execute(select(SESSIONS).where(valid)).one_or_none()
        return _session(row) if row else None

    def session_seen(self, number: str) -> None:
        """Note that a session is used now."""
        with writing(self._engine) as connection:
            connection.execute(update(SESSIONS).where(SESSIONS.c.id == number).values(seen_ms=self._now_ms()))

    def end_session(self, number: str) -> None:
        """Forget a session."""
        with writing(self._engine) as connection:
            connection.execute(delete(SESSIONS).where(SESSIONS.c.id == number))


def _user(row: Row[Any]) -> UserRow:
    return UserRow(**row._mapping)  # noqa: SLF001  # SQLAlchemy's public name


def _token(row: Row[Any]) -> TokenRow:
    return TokenRow(**row._mapping)  # noqa: SLF001


def _session(row: Row[Any]) -> SessionRow:
    return SessionRow(**row._mapping)  # noqa: SLF001


def _of(kind: str, subject: str) -> ColumnElement[bool]:
    return and_(SESSIONS.c.kind == kind, SESSIONS.c.subject == subject)


def _user_must_be(connection: Connection, name: str) -> None:
    if connection.scalar(select(USERS.c.name).where(USERS.c.name == name)) is None:
        raise DataError(f"there is no user '{name}'")


def _admin_must_remain(connection: Connection, name: str) -> None:
    """Refuse to leave users without anybody who may change them."""
    others = select(USERS.c.name).where(and_(USERS.c.role == "admin", USERS.c.name != name)).limit(1)
    if connection.scalar(others) is None:
        raise DataError(f"'{name}' is the only admin")
