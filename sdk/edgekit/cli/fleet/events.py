"""`edgekit fleet events`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli._signals import sigterm_ends
from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import Server, ServerCa, Wanted

if TYPE_CHECKING:
    from edgekit.fleet.remote import FleetServer

TURN_S = 1.0
LEVELS = ("debug", "info", "warning", "error")


def events(
    wanted: Wanted = "",
    level: Annotated[str, typer.Option(metavar="L", help="The least: debug, info, warning or error.")] = "info",
    last: Annotated[str, typer.Option(metavar="T", help="How far back: 15m, 12h, 7d.")] = "24h",
    limit: Annotated[int, typer.Option(metavar="N", min=1, max=1000, help="At most so many, the newest.")] = 100,
    follow: Annotated[bool, typer.Option("--follow", help="Go on as they come, until Ctrl-C.")] = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line an event.")] = False,
) -> None:
    """Tell what happened on the devices, the newest last.

    Examples:

        edgekit fleet events --level warning --last 7d

        edgekit fleet events --filter 'label.room=lab' --follow --json
    """
    import time

    from edgekit.errors import UsageError
    from edgekit.fleet.remote import FleetServer

    if level not in LEVELS:
        raise UsageError(f"there is no level '{level[:40]}'; there are: {', '.join(LEVELS)}")
    since_ms = int(1000 * (time.time() - tables.duration_s(last)))
    with sigterm_ends(), FleetServer(server, ca=ca) as fleet:
        seen = _print_new(fleet, {"wanted": wanted, "level": level, "since_ms": since_ms, "limit": limit}, 0, json=json)
        while follow:
            time.sleep(TURN_S)
            recent = {"wanted": wanted, "level": level, "since_ms": since_ms, "limit": 1000}
            seen = _print_new(fleet, recent, seen, json=json)


def _print_new(fleet: "FleetServer", asked: dict[str, Any], seen: int, *, json: bool) -> int:
    """Print the events behind one; return the number of the last."""
    import json as text

    for event in reversed(fleet.events(**asked)):
        if event["id"] <= seen:
            continue
        seen = event["id"]
        if json:
            print(text.dumps({"schema": tables.SCHEMA, **event}, separators=(",", ":")), flush=True)
        else:
            print(_line(event), flush=True)
    return seen


def _line(event: dict[str, Any]) -> str:
    about = f" {tables.plain(event['model'])}" if event["model"] else ""
    detail = ", ".join(f"{key} {tables.plain(value)[:60]}" for key, value in sorted(event["detail"].items()))
    shown = f" ({detail})" if detail else ""
    when = tables.moment(event["ts_ms"])
    return f"{when}  {event['level']:<7} {tables.name_of(event)}{about}: {tables.plain(event['text'])}{shown}"
