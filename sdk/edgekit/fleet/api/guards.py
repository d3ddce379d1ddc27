"""What stands before every route: who asks, forgery, sizes, time, and the headers of every answer."""

import asyncio
import hmac
from collections.abc import Mapping
from types import MappingProxyType
from urllib.parse import urlsplit

from sqlalchemy.exc import SQLAlchemyError
from starlette.concurrency import run_in_threadpool
from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from edgekit.fleet.api.access import PUBLIC, sign_in
from edgekit.fleet.api.errors import ApiError, store_away
from edgekit.fleet.api.gatekeeper import Gatekeeper
from edgekit.fleet.api.principal import Principal
from edgekit.fleet.api.settings import ApiSettings
from edgekit.fleet.api.throttle import Throttle
from edgekit.fleet.store.engine import is_away

BODY_TIMEOUT_S = 30.0
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
CSRF_HEADER = "x-csrf-token"
# Of one address: requests by whom nobody knows. A page whose session is over asks a few times.
WRONG_LIMIT, WRONG_S = 300, 60.0
_CLAIMS = frozenset({"authorization", "cookie"})
_LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

HEADERS: Mapping[str, str] = MappingProxyType(
    {
        "Content-Security-Policy": (
            "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
            "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
            "require-trusted-types-for 'script'; trusted-types 'none'"
        ),
        "X-Content-Type-Options": "nosniff",
        "X-Frame-Options": "DENY",
        "Referrer-Policy": "no-referrer",
        "Cross-Origin-Opener-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
        "Permissions-Policy": "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
    }
)


class Guard:
    """ASGI middleware: everything under /api needs to be from somebody known, save what is public."""

    def __init__(self, app: ASGIApp, settings: ApiSettings, gatekeeper: Gatekeeper) -> None:
        """Stand before `app`."""
        self._app, self._settings, self._gatekeeper = app, settings, gatekeeper
        self._wrong = Throttle(WRONG_LIMIT, WRONG_S)
        self._hosts = settings.hosts or (_LOCAL_NAMES if settings.loopback else ())

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Judge a request, then hand it on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        secure = self._secure(scope, headers)
        scope["scheme"] = "https" if secure else "http"
        scope["address"] = self._address(scope, headers)
        answer = _with_headers(send, secure=secure, api=scope["path"].startswith("/api/"))
        try:
            self._check_host(headers)
            self._check_length(headers)
            await self._identify(scope, headers)
        except ApiError as exc:
            await exc.response()(scope, receive, answer)
            return
        await self._app(scope, _Limited(receive, self._settings.body_limit_bytes), answer)

    def _secure(self, scope: Scope, headers: Mapping[str, str]) -> bool:
        """Whether the browser's end of the line is TLS: ours, or that of a trusted proxy."""
        if scope["scheme"] == "https":
            return True
        return self._settings.proxy.trusts(_peer(scope)) and headers.get("x-forwarded-proto", "").lower() == "https"

    def _address(self, scope: Scope, headers: Mapping[str, str]) -> str:
        """Return whom to count failures for: the last address that a trusted proxy did not write itself."""
        address = _peer(scope)
        for before in reversed(headers.get("x-forwarded-for", "").split(",")):
            if not self._settings.proxy.trusts(address):
                break
            address = before.strip()[:64] or address
        return address

    def _check_host(self, headers: Mapping[str, str]) -> None:
        """Refuse names that are not ours: a page elsewhere may have pointed its own name at this address."""
        name = urlsplit("//" + headers.get("host", "")).hostname or ""
        if self._hosts and name not in self._hosts:
            raise ApiError(421, "wrong-host", f"this service is not '{name[:100]}'")

    def _check_length(self, headers: Mapping[str, str]) -> None:
        length = headers.get("content-length", "0")
        if not length.isdigit() or int(length) > self._settings.body_limit_bytes:
            raise _too_large(self._settings.body_limit_bytes)

    async def _identify(self, scope: Scope, headers: Mapping[str, str]) -> None:
        method, address = scope["method"], scope["address"]
        public = (method, scope["path"]) in PUBLIC
        claims = bool(headers.keys() & _CLAIMS)
        if claims and scope["path"].startswith("/api/"):
            self._wrong.check(address)
        try:
            who = await run_in_threadpool(self._gatekeeper.who, headers, _peer(scope))
        except SQLAlchemyError as exc:
            if not is_away(exc):
                raise
            if scope["path"].startswith("/api/"):
                raise store_away(exc) from exc
            who = None  # how the service is, is told all the same
        scope["principal"] = who
        if scope["path"].startswith("/api/") and not public and who is None:
            if claims:  # looked up in the store, for nothing
                self._wrong.failed(address)
            raise sign_in()
        if method not in SAFE:
            _check_origin(headers)
            if who is not None and not public:
                _check_csrf(who, headers)


def _check_origin(headers: Mapping[str, str]) -> None:
    """Refuse writes that a browser sends on behalf of another site, signing in included."""
    origin = headers.get("origin")
    site = headers.get("sec-fetch-site", "same-origin")
    if (origin is not None and urlsplit(origin).netloc != headers.get("host")) or site not in {"same-origin", "none"}:
        raise ApiError(403, "cross-site", "this came from a page of another site")


def _check_csrf(who: Principal, headers: Mapping[str, str]) -> None:
    if who.csrf is not None and not hmac.compare_digest(headers.get(CSRF_HEADER, "").encode(), who.csrf.encode()):
        raise ApiError(
            403, "csrf", "the header X-CSRF-Token is missing or wrong", "GET /api/v1/session has it for this session"
        )


def _too_large(limit_bytes: int) -> ApiError:
    return ApiError(413, "too-large", f"a body has at most {limit_bytes} bytes")


def _peer(scope: Scope) -> str:
    client = scope.get("client")
    return client[0] if client else ""


class _Limited:
    """Hands on a body up to a size and in time; more is refused however it is framed."""

    def __init__(self, receive: Receive, limit_bytes: int) -> None:
        self._receive, self._limit_bytes = receive, limit_bytes
        self._length, self._ended = 0, False

    async def __call__(self) -> Message:
        if self._ended:  # what comes now is the end of the connection, which may be hours away
            return await self._receive()
        try:
            message = await asyncio.wait_for(self._receive(), BODY_TIMEOUT_S)
        except TimeoutError:
            raise ApiError(408, "too-slow", f"the body did not come within {BODY_TIMEOUT_S:g} s") from None
        self._length += len(message.get("body", b""))
        self._ended = not message.get("more_body", False)
        if self._length > self._limit_bytes:
            raise _too_large(self._limit_bytes)
        return message


def _with_headers(send: Send, *, secure: bool, api: bool) -> Send:
    """Return a `send` that adds the headers of every answer."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers.update(HEADERS)
            if api:
                headers.setdefault("Cache-Control", "no-store")
            if secure:
                headers["Strict-Transport-Security"] = "max-age=31536000"
        await send(message)

    return answer
