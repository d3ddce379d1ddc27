"""Finds out who asks: a bearer token, the local token file, a session's cookie, or a trusted proxy's headers."""

import hmac
import secrets
import time
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie

from edgekit.fleet.api.principal import Means, Principal, Role
from edgekit.fleet.api.secrets import LENGTH, derived, hashed
from edgekit.fleet.api.settings import ApiSettings
from edgekit.fleet.store.users import Accounts, SessionRow

COOKIE = "edgekit"
# A browser takes a cookie of such a name only over TLS, for this host alone, and from nobody else.
SECURE_COOKIE = "__Host-edgekit"
LONGEST_NAME = 200
# How often it is written down that a session or a token is in use.
NOTED_S = 60.0
_BACKGROUND = "x-background"


class Gatekeeper:
    """Answers who a request is from; None is nobody known. Blocking: it reads the store."""

    def __init__(self, settings: ApiSettings, accounts: Accounts, token: str | None = None) -> None:
        """Let in whom `accounts` knows, who has the local `token`, and whom a trusted proxy names."""
        self.settings, self.accounts = settings, accounts
        self.local = hashed(token) if token else None
        self._key = secrets.token_hex(32)
        self._noted: dict[str, float] = {}

    def who(self, headers: Mapping[str, str], peer: str) -> Principal | None:
        """Return who asks.

        A request with an `Authorization` header is judged by that alone: one that was sent on purpose and is wrong is
        not made right by a cookie.

        Args:
            headers: The request's headers, names in lower case.
            peer: The address of the connection's other end.
        """
        given = headers.get("authorization")
        if given is not None:
            scheme, _, secret = given.partition(" ")
            return self.bearer(secret.strip()) if scheme.lower() == "bearer" else None
        return self._from_proxy(headers, peer) or self._from_cookie(headers)

    def bearer(self, secret: str) -> Principal | None:
        """Return whose token a secret is."""
        if len(secret) not in LENGTH:
            return None
        digest = hashed(secret)
        if self.local and hmac.compare_digest(digest, self.local):
            return Principal(name="local", role=Role.ADMIN, means=Means.LOCAL, subject=digest)
        # looked up by a hash: how long that takes tells nothing of the secret
        token = self.accounts.token_by(digest=digest)
        if token is None:
            return None
        if self._is_time_to_note(token.id):
            self.accounts.token_used(token.id)
        return Principal(name=token.name, role=Role(token.role), means=Means.TOKEN, subject=token.id, scope=token.scope)

    def _from_cookie(self, headers: Mapping[str, str]) -> Principal | None:
        secret = session_secret(headers)
        if secret is None:
            return None
        row = self.accounts.session(hashed(secret), int(self.settings.session_idle_s * 1000))
        subject = self._subject(row) if row else None
        if row is None or subject is None:
            return None
        # what a page asks for by itself keeps no session awake
        by_itself = _BACKGROUND in headers or "text/event-stream" in headers.get("accept", "")
        if not by_itself and self._is_time_to_note(row.id):
            self.accounts.session_seen(row.id)
        name, role, scope = subject
        return Principal(
            name=name, role=role, means=Means.SESSION, subject=row.subject, csrf=derived(secret, "csrf"),
            session=row.id, scope=scope,
        )  # fmt: skip

    def _subject(self, row: SessionRow) -> tuple[str, Role, str | None] | None:
        """Return whose session it is, what they may do now and where; None when they may nothing any more."""
        match row.kind:
            case Means.USER:
                user = self.accounts.user(row.subject)
                return (user.name, Role(user.role), None) if user else None
            case Means.TOKEN:
                token = self.accounts.token_by(number=row.subject)
                return (token.name, Role(token.role), token.scope) if token else None
            case Means.LOCAL:
                return ("local", Role.ADMIN, None) if row.subject == self.local else None
        return None

    def _from_proxy(self, headers: Mapping[str, str], peer: str) -> Principal | None:
        proxy = self.settings.proxy
        name = headers.get(proxy.user_header, "").strip()
        if not name or len(name) > LONGEST_NAME or not proxy.trusts(peer):
            return None
        groups = {group.strip() for group in headers.get(proxy.groups_header, "").split(",")}
        roles = [role for group, role in proxy.roles.items() if group in groups]
        role = max(roles, key=list(Role).index, default=proxy.default_role)
        if role is None:
            return None
        return Principal(name=name, role=role, means=Means.PROXY, subject=name, csrf=derived(self._key, name))

    def _is_time_to_note(self, number: str) -> bool:
        now = time.monotonic()
        if now - self._noted.get(number, -NOTED_S) < NOTED_S:
            return False
        self._noted = {key: at for key, at in self._noted.items() if now - at < NOTED_S} | {number: now}
        return True


def session_secret(headers: Mapping[str, str]) -> str | None:
    """Return the session's secret among a request's cookies."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", "")[:8192])
    except CookieError:
        return None
    found = jar.get(SECURE_COOKIE) or jar.get(COOKIE)
    return found.value if found is not None and len(found.value) in LENGTH else None
