"""Signing in and out: `POST /api/v1/login`, `POST /api/v1/logout`, `GET /api/v1/session`."""

import threading
from typing import Annotated

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, Field, SecretStr

from edgekit.fleet import _clock
from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import Context, InContext
from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.api.gatekeeper import COOKIE, SECURE_COOKIE, session_secret
from edgekit.fleet.api.principal import Means, Principal, Role
from edgekit.fleet.api.secrets import derived, hashed, new_secret
from edgekit.fleet.passwords import hash_password, is_outdated, verify_password
from edgekit.fleet.store.users import SessionRow

router = APIRouter(tags=["sessions"], prefix="/api/v1")

# Each check of a password takes 32 MiB: so many at once, and who waits longer is told to come again.
_HASHING = threading.BoundedSemaphore(2)
HASHING_WAIT_S = 10.0


class Login(BaseModel):
    """A user's name and password, or a token."""

    name: Annotated[str, Field(max_length=64)] = ""
    password: SecretStr | None = None
    token: SecretStr | None = None


class NewPassword(BaseModel):
    """The password so far and the one from now on."""

    password: SecretStr
    new: SecretStr


class Session(BaseModel):
    """Who is signed in, null when nobody is; writes with the session's cookie bring `csrf` in `X-CSRF-Token`."""

    name: str | None = None
    role: Role | None = None
    csrf: str | None = None
    means: Means | None = None
    scope: str | None = None
    has_users: bool
    now_ms: int


@router.get("/session")
def session(request: Request, context: InContext) -> Session:
    """Say who asks."""
    who: Principal | None = request.scope.get("principal")
    return _told(context, who)


@router.post("/login")
def login(request: Request, response: Response, context: InContext, given: Login) -> Session:
    """Open a session: the answer sets its cookie, whose id is always a new one."""
    who = _proven(request, context, given)
    secret = new_secret()
    _end_old(request, context)
    now_ms = _clock.now_ms()
    longest_s = context.settings.session_longest_s
    row = SessionRow(
        id=hashed(secret), kind=who.means, subject=who.subject, created_ms=now_ms, seen_ms=now_ms,
        expires_ms=now_ms + int(longest_s * 1000), address=_address(request),
    )  # fmt: skip
    context.accounts.open_session(row)
    secure = request.url.scheme == "https"
    response.set_cookie(
        SECURE_COOKIE if secure else COOKIE, secret,
        max_age=int(longest_s), path="/", secure=secure, httponly=True, samesite="strict",
    )  # fmt: skip
    opened = Principal(
        name=who.name, role=who.role, means=Means.SESSION, subject=who.subject, csrf=derived(secret, "csrf"),
        scope=who.scope,
    )  # fmt: skip
    return _told(context, opened)


@router.post("/logout", status_code=204)
def logout(request: Request, response: Response, context: InContext, _who: Viewer) -> None:
    """End the session."""
    _end_old(request, context)
    secure = request.url.scheme == "https"
    response.delete_cookie(SECURE_COOKIE if secure else COOKIE, path="/", secure=secure, httponly=True)


@router.post("/session/password", status_code=204)
def change_password(request: Request, context: InContext, who: Viewer, given: NewPassword) -> None:
    """Change one's own password; every session of the user ends."""
    if who.means is not Means.SESSION or context.accounts.user(who.subject) is None:
        raise ApiError(403, "forbidden", "only a user who is signed in has a password here")
    _check_user(request, context, who.subject, given.password.get_secret_value())
    new = hash_password(given.new.get_secret_value())
    context.accounts.change_user(who.subject, password=new, by=who.name)


def _told(context: Context, who: Principal | None) -> Session:
    told = Session(has_users=context.accounts.has_users(), now_ms=_clock.now_ms())
    if who is not None:
        told.name, told.role, told.csrf, told.means = who.name, who.role, who.csrf, who.means
        told.scope = who.scope
    return told


def _end_old(request: Request, context: Context) -> None:
    old = session_secret(request.headers)
    if old is not None:
        context.accounts.end_session(hashed(old))


def _proven(request: Request, context: Context, given: Login) -> Principal:
    """Return who a login is by.

    Raises:
        ApiError: By nobody known; it is not told whether the name or the password is wrong.
    """
    if given.password is not None and given.name:
        role = _check_user(request, context, given.name, given.password.get_secret_value())
        return Principal(name=given.name, role=role, means=Means.USER, subject=given.name)
    if given.token is None:
        raise ApiError(400, "bad-request", "send name and password, or a token")
    address = _address(request)
    context.by_address.check(address)
    who = context.gatekeeper.bearer(given.token.get_secret_value().strip())
    if who is None:
        context.by_address.failed(address)
        raise ApiError(403, "wrong-login", "this token is not known, or is over")
    return who


def _check_user(request: Request, context: Context, name: str, password: str) -> Role:
    address = _address(request)
    # of one address; of one name from one address; of one name from everywhere
    limits = ((context.by_address, address), (context.by_pair, f"{address} {name}"), (context.by_name, name))
    for throttle, key in limits:
        throttle.check(key)
    user = context.accounts.user(name)
    if not _HASHING.acquire(timeout=HASHING_WAIT_S):
        raise ApiError(503, "busy", "too many people sign in at once; try again", headers={"Retry-After": "5"})
    try:
        right = verify_password(password, user.password if user else None)
    finally:
        _HASHING.release()
    if user is None or not right:
        for throttle, key in limits:
            throttle.failed(key)
        raise ApiError(403, "wrong-login", "name or password is wrong")
    context.by_pair.passed(f"{address} {name}")
    if is_outdated(user.password):
        context.accounts.renew_hash(name, hash_password(password))
    return Role(user.role)


def _address(request: Request) -> str:
    address: str = request.scope.get("address", "")
    return address
