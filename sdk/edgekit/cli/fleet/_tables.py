"""How fleet commands print: tables on stdout, times as ages, nothing of a device that would steer the terminal."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.text import Text

STYLES = {"online": "green", "stale": "yellow", "offline": "red", "stopped": "dim", "unknown": "dim"}
SHOWN = 200
SCHEMA = 1
_MINUTE, _HOUR, _DAY = 60, 3600, 86400


def print_json(document: dict[str, Any]) -> None:
    """Print one document of schema 1."""
    import json

    print(json.dumps({"schema": SCHEMA, **document}, indent=2))


def print_table(headings: Sequence[str], rows: "Sequence[Sequence[Text | str]]", right: Sequence[str] = ()) -> None:
    """Print rows under headings; columns named in `right` are figures."""
    from rich.table import Table

    from edgekit.cli._console import stdout

    grid = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        grid.add_column(heading, justify="right" if heading in right else "left", overflow="fold")
    for row in rows:
        grid.add_row(*row)
    stdout().print(grid)


def plain(text: object) -> str:
    """Return text of a device without what would steer the terminal, and not too long."""
    return printable(str(text)[:SHOWN])


def printable(text: str) -> str:
    """Return a line without what would steer the terminal."""
    return "".join(char if char.isprintable() else "\N{REPLACEMENT CHARACTER}" for char in text)


def counted(number: int, name: str) -> str:
    """Return how many there are: `1 device`, `3 devices`."""
    return f"{number} {name}" if number == 1 else f"{number} {name}s"


def styled(text: str, presence: str) -> "Text":
    """Return text in the colour of a presence."""
    from rich.text import Text

    return Text(text, style=STYLES.get(presence, ""))


def cell(text: object, presence: str = "online") -> "Text":
    """Return what a device told; of one that is not there it is no present, and is dim."""
    from rich.text import Text

    return Text(plain(text), style="" if presence in {"online", "unknown"} else "dim")


def age(ms: int | None, now_ms: int) -> str:
    """Return how long ago a moment was."""
    if not ms:
        return "never"
    seconds = max(0, now_ms - ms) / 1000
    if seconds < 2 * _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * _HOUR:
        return f"{seconds / _MINUTE:.0f} min"
    return f"{seconds / _HOUR:.0f} h" if seconds < 2 * _DAY else f"{seconds / _DAY:.0f} d"


def name_of(device: dict[str, Any]) -> str:
    """Return how a device is called: with its site where that is not the default."""
    return str(device["device"]) if device["site"] == "default" else f"{device['site']}/{device['device']}"


def moment(ms: int) -> str:
    """Return a time of day with its date, local; a clock that was never set gives dashes."""
    import time

    try:
        return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(ms / 1000))
    except (ValueError, OverflowError, OSError):
        return "-"


def duration_s(text: str) -> float:
    """Read a duration: `90`, `90s`, `15m`, `12h` or `30d`; seconds.

    Raises:
        UsageError: if it is none.
    """
    from edgekit.errors import UsageError

    units = {"s": 1, "m": _MINUTE, "h": _HOUR, "d": _DAY}
    size = units.get(text[-1:], 1)
    try:
        value = float(text[:-1] if text[-1:] in units else text)
    except ValueError:
        value = -1.0
    if not 0 < value * size <= 10 * 365 * _DAY:
        error = UsageError(f"'{text[:40]}' is no duration")
        error.add_note("as 90s, 15m, 12h or 30d")
        raise error
    return value * size
