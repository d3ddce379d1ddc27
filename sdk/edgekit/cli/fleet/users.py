"""`edgekit fleet user` and `edgekit fleet token`: who may use the service; they work on its store, running or not."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit.fleet.store.users import Accounts

users = typer.Typer(help="Users of the fleet's page and API.", no_args_is_help=True, rich_markup_mode=None)
tokens = typer.Typer(help="Tokens for programs that use the fleet's API.", no_args_is_help=True, rich_markup_mode=None)

Name = Annotated[str, typer.Argument(metavar="NAME")]
Role = Annotated[str, typer.Option(metavar="R", help="viewer, operator or admin.")]
Store = Annotated[
    str | None,
    typer.Option(metavar="URL", help="sqlite:///PATH or postgresql://... [default: fleet.db in the data folder]"),
]
Data = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="EDGEKIT_FLEET_DATA",
        help="The service's folder. [default: ~/.local/share/edgekit/fleet]",
    ),
]
PasswordFile = Annotated[
    Path | None, typer.Option(metavar="FILE", help="Its first line is the password, - is stdin. [default: ask]")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]


@users.command("add")
def add_user(
    name: Name, role: Role = "viewer", password_file: PasswordFile = None, store: Store = None, data: Data = None
) -> None:
    """Add a user; the password is asked for, twice.

    Examples:

        edgekit fleet user add ann --role admin
    """
    role = _role(role)
    _check_name(name)
    with _accounts(store, data) as accounts:
        accounts.add_user(name, _hashed(password_file), role)
    typer.echo(f"{name}: {role}")


@users.command("ls")
def list_users(store: Store = None, data: Data = None, json: Json = False) -> None:
    """List the users."""
    with _accounts(store, data, make=False) as accounts:
        found = accounts.users()
    rows = [{name: getattr(one, name) for name in ("name", "role", "created_ms", "login_ms")} for one in found]
    _print("users", rows, json=json)


@users.command("remove")
def remove_user(name: Name, store: Store = None, data: Data = None) -> None:
    """Remove a user; their sessions end."""
    with _accounts(store, data, make=False) as accounts:
        accounts.remove_user(name)


@users.command("passwd")
def change_password(
    name: Name,
    role: Annotated[str | None, typer.Option(metavar="R", help="Change the role instead.")] = None,
    password_file: PasswordFile = None,
    store: Store = None,
    data: Data = None,
) -> None:
    """Change a user's password or role; their sessions end."""
    changed = None if role is None else _role(role)
    with _accounts(store, data, make=False) as accounts:
        if changed is not None:
            accounts.change_user(name, role=changed)
        else:
            accounts.change_user(name, password=_hashed(password_file))


@tokens.command("create")
def create_token(
    name: Name,
    role: Role = "viewer",
    days: Annotated[float, typer.Option(metavar="D", min=0, help="How long it is good for; 0 is for ever.")] = 90.0,
    scope: Annotated[
        str | None, typer.Option(metavar="F", help="Only for devices that this filter is true of, as 'site=lab'.")
    ] = None,
    store: Store = None,
    data: Data = None,
    json: Json = False,
) -> None:
    """Make a token and print it, this once: what is stored is its hash.

    Examples:

        edgekit fleet token create ci --role operator --days 30

        edgekit fleet token create lab --role operator --scope "site=lab and model=kws"
    """
    import json as text

    from edgekit.fleet.api.accounts import make_token
    from edgekit.fleet.api.principal import Role as Roles

    role = _role(role)
    _check_name(name)
    with _accounts(store, data) as accounts:
        row, secret = make_token(accounts, name, Roles(role), days or None, by="local", scope=scope)
    told = {
        "schema": 1,
        "id": row.id,
        "name": name,
        "role": role,
        "expires_ms": row.expires_ms,
        "scope": scope,
        "token": secret,
    }
    typer.echo(text.dumps(told) if json else secret)


@tokens.command("ls")
def list_tokens(store: Store = None, data: Data = None, json: Json = False) -> None:
    """List the tokens, without their secrets."""
    with _accounts(store, data, make=False) as accounts:
        rows = [{name: getattr(one, name) for name in type(one).__slots__} for one in accounts.tokens()]
    _print("tokens", rows, json=json)


@tokens.command("revoke")
def revoke_token(number: Annotated[str, typer.Argument(metavar="ID")], store: Store = None, data: Data = None) -> None:
    """Revoke a token by its id; sessions opened with it end."""
    with _accounts(store, data, make=False) as accounts:
        accounts.revoke_token(number)


@contextmanager
def _accounts(store: str | None, data: Path | None, *, make: bool = True) -> Iterator["Accounts"]:
    """Open the store; only what adds to it makes one that is not there: the first user may come before the service."""
    from edgekit.errors import EnvironmentMissingError

    try:
        from edgekit.fleet.store import open_store
    except ImportError as exc:
        error = EnvironmentMissingError(f"the fleet service needs {exc.name}")
        error.add_note("pip install 'edgekit-sdk[fleet]'")
        raise error from exc
    folder = (data or Path.home() / ".local" / "share" / "edgekit" / "fleet").absolute()
    url = store or f"sqlite:///{folder / 'fleet.db'}"
    if not make:
        from edgekit.cli.fleet._store_options import refuse_absent

        refuse_absent(url)
    with open_store(url) as opened:
        yield opened.accounts


def _role(text: str) -> str:
    from edgekit.errors import UsageError

    if text not in {"viewer", "operator", "admin"}:
        raise UsageError(f"there is no role '{text}': it is viewer, operator or admin")
    return text


def _check_name(name: str) -> None:
    import re

    from edgekit.errors import UsageError

    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._@-]{0,63}", name):
        raise UsageError(f"'{name[:100]}' is no name: letters, digits and ._@-, at most 64")


def _hashed(file: Path | None) -> str:
    import sys

    from edgekit.errors import DataError
    from edgekit.fleet.passwords import hash_password

    if file is None:
        return hash_password(typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True))
    if str(file) == "-":
        return hash_password(sys.stdin.readline().rstrip("\r\n"))
    try:
        return hash_password(file.read_text()[:4096].partition("\n")[0].rstrip("\r"))
    except (OSError, UnicodeDecodeError) as exc:
        raise DataError(f"the password file '{file}' cannot be read: {exc}") from exc


def _print(name: str, rows: list[dict[str, object]], *, json: bool) -> None:
    import json as text
    import time

    if json:
        typer.echo(text.dumps({"schema": 1, name: rows}))
        return
    for row in rows:
        cells = []
        for key, value in row.items():
            shown = value
            if key.endswith("_ms"):
                when = time.strftime("%Y-%m-%d %H:%M", time.localtime(value / 1000)) if isinstance(value, int) else "-"
                shown = f"{key.removesuffix('_ms')} {when}"
            cells.append(str(shown))
        typer.echo("  ".join(cells))
