"""Finds out who asks: a bearer token, the local token file, a session's cookie, or a trusted proxy's headers."""

import hashlib
import hmac
import os
import secrets
from collections.abc import Mapping
from http.cookies import CookieError, SimpleCookie
from pathlib import Path

from edgekit.fleet.api.principal import Means, Principal, Role
from edgekit.fleet.api.settings import ApiSettings

TOKEN_FILE = "token"  # noqa: S105 - a file's name
TOKEN_PREFIX = "ekt_"  # noqa: S105 - lets secret scanners find one that leaked
_TOKEN_LENGTH = range(24, 129)


def new_token() -> str:
    """Return a secret of 256 bits that can be typed into a header."""
    return TOKEN_PREFIX + secrets.token_urlsafe(32)


def hashed(secret: str) -> str:
    """Return what is stored of a secret of 256 random bits; such a one needs no slow hash."""
    return hashlib.sha256(secret.encode()).hexdigest()


def local_token(folder: Path) -> str:
    """Return the token of who can read the service's own folder (0600); made at the first start.

    Args:
        folder: The data folder of the service.
    """
    file = folder / TOKEN_FILE
    try:
        text = file.read_text().strip()
    except FileNotFoundError:
        text = ""
    if len(text) in _TOKEN_LENGTH:
        file.chmod(0o600)
        return text
    text = new_token()
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / f".{TOKEN_FILE}.{os.getpid()}"
    beside.unlink(missing_ok=True)
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(text + "\n")
        out.flush()
        os.fsync(out.fileno())
    beside.replace(file)
    return text


class Gatekeeper:
    """Answers who a request is from; None is nobody known. Blocking: it may read the store."""

    def __init__(self, settings: ApiSettings, token: str | None = None) -> None:
        """Let in by `token`, the local one, besides what the store knows."""
        self.settings = settings
        self._local = hashed(token) if token else None
        self._key = secrets.token_bytes(32)

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
            return self._bearer(given)
        return self._from_proxy(headers, peer)

    def _bearer(self, given: str) -> Principal | None:
        scheme, _, secret = given.partition(" ")
        if scheme.lower() != "bearer" or len(secret) not in _TOKEN_LENGTH:
            return None
        if self._local and hmac.compare_digest(hashed(secret), self._local):
            return Principal(name="local", role=Role.ADMIN, means=Means.LOCAL)
        return None

    def _from_proxy(self, headers: Mapping[str, str], peer: str) -> Principal | None:
        proxy = self.settings.proxy
        name = headers.get(proxy.user_header, "").strip()
        if not name or len(name) > 200 or not proxy.trusts(peer):  # noqa: PLR2004 - longer than any address
            return None
        groups = {group.strip() for group in headers.get(proxy.groups_header, "").split(",")}
        roles = [role for group, role in proxy.roles.items() if group in groups]
        role = max(roles, key=list(Role).index, default=proxy.default_role)
        if role is None:
            return None
        csrf = hmac.new(self._key, name.encode(), "sha256").hexdigest()
        return Principal(name=name, role=role, means=Means.PROXY, csrf=csrf)


def cookies(headers: Mapping[str, str]) -> dict[str, str]:
    """Return a request's cookies; what cannot be read is none."""
    jar: SimpleCookie = SimpleCookie()
    try:
        jar.load(headers.get("cookie", "")[:8192])
    except CookieError:
        return {}
    return {name: morsel.value for name, morsel in jar.items()}
