"""Who asks, and what they may do."""

from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType


class Role(StrEnum):
    """What somebody may do; each may do what those before it may."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    ADMIN = "admin"

    def covers(self, other: "Role") -> bool:
        """Whether this role may do what `other` may."""
        return _RANK[self] >= _RANK[other]


_RANK = MappingProxyType({role: rank for rank, role in enumerate(Role)})


class Means(StrEnum):
    """How somebody showed who they are; a session is opened as a user, with a token, or with the local one."""

    USER = "user"
    SESSION = "session"
    TOKEN = "token"  # noqa: S105 - a kind, not a secret
    LOCAL = "local"
    PROXY = "proxy"


@dataclass(frozen=True, slots=True, kw_only=True)
class Principal:
    """Somebody who is let in.

    `subject` is the user's name, the token's id, or the name that a proxy gave. `csrf` is what a write must bring in
    `X-CSRF-Token` when a browser would send the proof of identity by itself (a cookie, or the cookie of a proxy in
    front); None where the caller sends the proof on purpose. `session` is the stored id of the session. `scope` is a
    filter: nothing outside of it is shown to them or changed by them; None is the whole fleet.
    """

    name: str
    role: Role
    means: Means
    subject: str
    csrf: str | None = None
    session: str | None = None
    scope: str | None = None
