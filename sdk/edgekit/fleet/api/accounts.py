"""Users and tokens, for admins: `/api/v1/users`, `/api/v1/tokens`."""

import secrets
from typing import Annotated

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field, SecretStr

from edgekit.errors import DataError, UsageError
from edgekit.fleet import _clock
from edgekit.fleet.api.access import Admin
from edgekit.fleet.api.context import InContext
from edgekit.fleet.api.errors import not_found
from edgekit.fleet.api.principal import Role
from edgekit.fleet.api.scope import LONGEST
from edgekit.fleet.api.secrets import TOKEN_PREFIX, hashed, new_secret
from edgekit.fleet.passwords import hash_password
from edgekit.fleet.query import parse
from edgekit.fleet.store.users import Accounts, TokenRow

router = APIRouter(tags=["accounts"], prefix="/api/v1")

LONGEST_DAYS = 3660
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]
NameInPath = Annotated[str, Path(pattern=r"^[A-Za-z0-9][A-Za-z0-9._@-]{0,63}$")]


class User(BaseModel):
    """A user, without the password."""

    name: str
    role: Role
    created_ms: int
    login_ms: int | None


class NewUser(BaseModel):
    """A user to add."""

    name: Name
    password: SecretStr
    role: Role = Role.VIEWER


class UserChange(BaseModel):
    """What changes of a user; every session of theirs ends."""

    password: SecretStr | None = None
    role: Role | None = None


class Token(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    role: Role
    created_ms: int
    created_by: str
    expires_ms: int | None
    used_ms: int | None
    scope: str | None


class NewToken(BaseModel):
    """A token to make."""

    name: Name
    role: Role = Role.VIEWER
    days: Annotated[float | None, Field(gt=0, le=LONGEST_DAYS)] = 90.0
    scope: Annotated[str | None, Field(max_length=LONGEST, description="A filter: for these devices only.")] = None


class MadeToken(Token):
    """A new token; `token` is its secret, which is told this once."""

    token: str


@router.get("/users")
def users(context: InContext, _who: Admin) -> list[User]:
    """List the users."""
    return [User.model_validate(one, from_attributes=True) for one in context.accounts.users()]


@router.post("/users", status_code=201)
def add_user(context: InContext, who: Admin, new: NewUser) -> None:
    """Add a user."""
    context.accounts.add_user(new.name, hash_password(new.password.get_secret_value()), new.role, by=who.name)


@router.patch("/users/{name}", status_code=204)
def change_user(context: InContext, who: Admin, name: NameInPath, change: UserChange) -> None:
    """Change a user's password or role."""
    _must_be(context.accounts, name)
    password = change.password.get_secret_value() if change.password else None
    hashed_password = hash_password(password) if password else None
    context.accounts.change_user(name, password=hashed_password, role=change.role, by=who.name)


@router.delete("/users/{name}", status_code=204)
def remove_user(context: InContext, who: Admin, name: NameInPath) -> None:
    """Remove a user; their sessions end."""
    _must_be(context.accounts, name)
    context.accounts.remove_user(name, by=who.name)


@router.get("/tokens")
def tokens(context: InContext, _who: Admin) -> list[Token]:
    """List the tokens."""
    return [Token.model_validate(one, from_attributes=True) for one in context.accounts.tokens()]


@router.post("/tokens", status_code=201)
def add_token(context: InContext, who: Admin, new: NewToken) -> MadeToken:
    """Make a token."""
    row, secret = make_token(context.accounts, new.name, new.role, new.days, by=who.name, scope=new.scope)
    known = Token.model_validate(row, from_attributes=True)
    return MadeToken(**known.model_dump(), token=secret)


@router.delete("/tokens/{number}", status_code=204)
def revoke_token(context: InContext, who: Admin, number: Annotated[str, Path(max_length=64)]) -> None:
    """Revoke a token; sessions opened with it end."""
    try:
        context.accounts.revoke_token(number, by=who.name)
    except DataError:
        raise not_found("such token") from None


def make_token(  # what a token is
    accounts: Accounts, name: str, role: Role, days: float | None, *, by: str, scope: str | None = None
) -> tuple[TokenRow, str]:
    """Make and keep a token.

    Args:
        accounts: Where it is kept, by its hash.
        name: What it is for.
        role: What it lets do.
        days: How long it is good for; None is for ever.
        by: Who makes it.
        scope: A filter of the devices it is for; None is all.

    Returns:
        The token as it is kept, and its secret, which is nowhere else.

    Raises:
        UsageError: The scope is empty or no filter, or it is an admin's, who is nobody within a part of the fleet.
    """
    if scope is not None:
        if not scope.strip() or len(scope) > LONGEST:
            raise UsageError(f"a scope is a filter of 1 to {LONGEST} characters, as 'site=lab'")
        parse(scope)
        if role is Role.ADMIN:
            raise UsageError("an admin's token has no scope: users and tokens are of the whole fleet")
    secret = new_secret(TOKEN_PREFIX)
    now_ms = _clock.now_ms()
    expires_ms = None if days is None else now_ms + int(days * 86_400_000)
    row = TokenRow(
        id=secrets.token_hex(4), name=name, role=role, created_ms=now_ms, created_by=by, expires_ms=expires_ms,
        scope=scope,
    )  # fmt: skip
    accounts.add_token(row, hashed(secret))
    return row, secret


def _must_be(accounts: Accounts, name: str) -> None:
    if accounts.user(name) is None:
        raise not_found(f"user '{name}'")
