"""The service's file of alerts (TOML): notifiers, which may be written nowhere else, and rules.

Where a notifier leads to is decided by who owns the service's machine, never by a request: who may write rules over
the API cannot make the service call addresses of their choice.
"""

import ipaddress
import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from edgekit.errors import DataError, EdgeKitError, UsageError
from edgekit.fleet.alerts.rules import NAME, Rule
from edgekit.fleet.security.secret_files import read_secret

MAX_BYTES = 1 << 20
KINDS = ("webhook", "mqtt", "email")


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """A web hook; `secret` signs what is sent."""

    url: str
    secret: str | None = field(default=None, repr=False)
    ca: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Mqtt:
    """A topic at the service's own broker; the rule's name is its last level."""

    topic: str = "ek/alerts"


@dataclass(frozen=True, slots=True, kw_only=True)
class Email:
    """A mail server; `tls` is starttls, implicit, or none (this machine only)."""

    host: str
    sender: str
    to: tuple[str, ...]
    port: int = 587
    tls: str = "starttls"
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    ca: str | None = None


Notifier = Webhook | Mqtt | Email


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """What the file says."""

    notifiers: Mapping[str, Notifier] = field(default_factory=dict)
    rules: tuple[Rule, ...] = ()


def load(path: Path) -> Settings:
    """Read the file.

    Raises:
        DataError: if it cannot be read, or something in it is wrong.
    """
    try:
        with path.open("rb") as file:
            document = tomllib.loads(file.read(MAX_BYTES).decode())
    except OSError as exc:
        raise DataError(f"cannot read '{path}': {exc.strerror}") from exc
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise DataError(f"'{path}' is no TOML: {exc}") from exc
    if unknown := set(document) - {"notifier", "rule"}:
        raise DataError(f"'{path}': there is no table '{min(unknown)}', only [[notifier]] and [[rule]]")
    try:
        notifiers = dict(_notifier(one, path.parent) for one in _tables(document, "notifier"))
        rules = tuple(_rule(one) for one in _tables(document, "rule"))
    except EdgeKitError as exc:
        error = DataError(f"'{path}': {exc}")
        error.__notes__ = list(getattr(exc, "__notes__", []))
        raise error from exc
    except (TypeError, KeyError) as exc:
        raise DataError(f"'{path}': a setting is missing or of the wrong kind: {exc}") from exc
    return Settings(notifiers=notifiers, rules=rules)


def _tables(document: Mapping[str, Any], name: str) -> list[dict[str, Any]]:
    found = document.get(name, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise UsageError(f"'{name}' is written as [[{name}]]")
    return found


def _rule(table: dict[str, Any]) -> Rule:
    table = dict(table)
    return Rule.written(str(table.pop("name")), str(table.pop("when")), **table)


def _notifier(table: dict[str, Any], folder: Path) -> tuple[str, Notifier]:
    table = dict(table)
    name, kind = str(table.pop("name")), str(table.pop("kind"))
    if not NAME.fullmatch(name):
        raise UsageError(f"notifier '{name[:80]}': a name is a-z, 0-9 and '-', at most 64")
    if kind not in KINDS:
        raise UsageError(f"notifier '{name}': there is no kind '{kind[:40]}'; there are: {', '.join(KINDS)}")
    made: Notifier
    if kind == "webhook":
        table["secret"] = _secret(table, "secret", folder)
        hook = made = Webhook(**table)
        _check_url(name, hook.url)
    elif kind == "mqtt":
        made = Mqtt(**table)
        if any(one in made.topic for one in "+#\0") or not made.topic or made.topic.startswith("ek/1/"):
            raise UsageError(f"notifier '{name}': '{made.topic[:80]}' is no topic to publish alerts at")
    else:
        table["password"] = _secret(table, "password", folder)
        table["to"] = tuple(table["to"]) if isinstance(table.get("to"), list) else ()
        made = Email(**table)
        _check_email(name, made)
    return name, made


def _secret(table: dict[str, Any], what: str, folder: Path) -> str | None:
    """Return a secret of a file (0600) or an environment variable; written out in the file it is refused."""
    if what in table:
        raise UsageError(f"'{what}' does not stand in this file: use {what}_file or {what}_env")
    file, variable = table.pop(f"{what}_file", None), table.pop(f"{what}_env", None)
    if file is not None:
        return read_secret(folder / file)
    if variable is None:
        return None
    if not os.environ.get(variable):
        raise UsageError(f"the environment variable {variable} is not set")
    return os.environ[variable]


def _check_url(name: str, url: str) -> None:
    parts = urlsplit(url)
    if parts.scheme not in {"https", "http"} or not parts.hostname or parts.username or parts.password:
        raise UsageError(f"notifier '{name}': the URL is not of the form https://host/path, without a user")
    if parts.scheme == "http" and not is_loopback(parts.hostname):
        raise UsageError(f"notifier '{name}': http:// is for this machine only; elsewhere use https://")


def _check_email(name: str, made: Email) -> None:
    if made.tls not in {"starttls", "implicit", "none"}:
        raise UsageError(f"notifier '{name}': tls is one of: starttls, implicit, none")
    if made.tls == "none" and not is_loopback(made.host):
        raise UsageError(f"notifier '{name}': without TLS only this machine's mail server is used")
    if not made.to or any("\n" in one or "\r" in one or "@" not in one for one in (made.sender, *made.to)):
        raise UsageError(f"notifier '{name}': 'sender' and 'to' are addresses, 'to' a list with at least one")
    if (made.username is None) != (made.password is None):
        raise UsageError(f"notifier '{name}': a user and a password go together")


def is_loopback(host: str) -> bool:
    """Whether a host is this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
