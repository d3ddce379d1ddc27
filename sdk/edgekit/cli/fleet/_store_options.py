"""The options by which a fleet command finds the service's store, and a time in it."""

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

StoreUrl = Annotated[
    str | None,
    typer.Option(
        "--store",
        metavar="URL",
        envvar="EDGEKIT_FLEET_STORE",
        help="The service's: sqlite:///PATH or postgresql://... [default: fleet.db in its folder]",
    ),
]
_UNITS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


def existing_store(url: str | None) -> "Store":
    """Open a store that is there, by default that of `edgekit fleet serve` of this user: a file is not made.

    Raises:
        EnvironmentMissingError: if the extra is not installed, or there is no such file.
        UsageError: if the URL is of no form that is known.
        DeviceError: if the database does not answer.
    """
    import importlib.util
    import os
    from pathlib import Path

    from edgekit.errors import EnvironmentMissingError

    if any(importlib.util.find_spec(name) is None for name in ("sqlalchemy", "msgspec")):
        error = EnvironmentMissingError("this needs the fleet service's libraries, which are not installed")
        error.add_note("pip install 'edgekit-sdk[fleet]'")
        raise error
    from edgekit.fleet.store import open_store

    folder = Path(os.environ.get("EDGEKIT_FLEET_DATA") or Path.home() / ".local" / "share" / "edgekit" / "fleet")
    url = url or f"sqlite:///{folder.absolute() / 'fleet.db'}"
    refuse_absent(url)
    return open_store(url)


def refuse_absent(url: str) -> None:
    """Refuse a file that is not there, which opening would make.

    Raises:
        EnvironmentMissingError: if there is no such file.
        UsageError: if the URL is of no form that is known.
    """
    from pathlib import Path

    from edgekit.errors import EnvironmentMissingError
    from edgekit.fleet.store.engine import parse

    place = parse(url)
    if place.get_backend_name() == "sqlite" and not Path(place.database or "").is_file():
        error = EnvironmentMissingError(f"there is no store '{place.database}'")
        error.add_note("give the URL or folder that `edgekit fleet serve` has, or run it here once")
        raise error


def moment_ms(text: str, now_ms: int) -> int:
    """Return a time in milliseconds since 1970: `now`, `24h` (ago), or ISO 8601 (UTC where it says nothing else).

    Raises:
        UsageError: if it is none of them.
    """
    from datetime import UTC, datetime

    from edgekit.errors import UsageError

    if text == "now":
        return now_ms
    if text[-1:] in _UNITS and text[:-1].isdigit() and len(text) <= 9:  # noqa: PLR2004  # 300 years in seconds
        return now_ms - 1000 * int(text[:-1]) * _UNITS[text[-1]]
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        error = UsageError(f"'{text[:80]}' is no time")
        error.add_note("write 24h, 30m or 7d (ago), now, or 2026-11-22T06:00")
        raise error from None
    return int((found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp() * 1000)
