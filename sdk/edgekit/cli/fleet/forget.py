"""`edgekit fleet forget`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._broker_options import Cert, Key
from edgekit.cli.fleet._server_options import Json, Server, ServerCa

if TYPE_CHECKING:
    from edgekit.fleet.remote import FleetServer


def forget(
    devices: Annotated[
        list[str] | None, typer.Argument(metavar="[DEVICE]...", help="SITE/DEVICE, or DEVICE where there is one.")
    ] = None,
    wanted: Annotated[
        str | None, typer.Option("--filter", "-f", metavar="F", help="Or all that a filter is true of.")
    ] = None,
    older: Annotated[str | None, typer.Option(metavar="T", help="With --filter: not seen for so long, as 30d.")] = None,
    zombies: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Clear what this broker keeps of devices that the service does not know."),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell what would go.")] = False,
    server: Server = None,
    ca: ServerCa = None,
    cert: Cert = None,
    key: Key = None,
    json: Json = False,
) -> None:
    """Forget devices that are gone for good: what is stored of them, and what the broker keeps (retained topics).

    One that is online is not forgotten: it would be back at once.

    Examples:

        edgekit fleet forget pi-hall-3 --dry-run

        edgekit fleet forget --filter 'state=offline' --older 90d

        edgekit fleet forget --zombies mqtt://127.0.0.1:1883 --dry-run
    """
    from edgekit.errors import UsageError
    from edgekit.fleet.remote import FleetServer

    if not (devices or wanted is not None or zombies):
        error = UsageError("forget what?")
        error.add_note("name devices, or give --filter or --zombies")
        raise error
    if older is not None and wanted is None:
        error = UsageError("--older chooses among the devices of --filter, and there is none")
        error.add_note("edgekit fleet forget --filter 'state=offline' --older 90d")
        raise error
    cleared: list[str] = []
    with FleetServer(server, ca=ca) as fleet:
        names = list(devices or ())
        if wanted is not None:
            names += _not_seen(fleet, wanted, older)
        gone = []
        for name in names:
            gone.append({"device": name, **fleet.forget(name, dry_run=dry_run)})
            if not json:  # at once: many take their time
                _tell_one(gone[-1])
        if zombies:
            from edgekit.fleet._url import parse
            from edgekit.fleet.retained import clear, strangers

            url = parse(zombies, ca=ca if zombies.startswith("mqtts") else None, cert=cert, key=key)
            known = {(one["site"], one["device"]) for one in fleet.devices()}
            cleared = strangers(url, known)
            if not dry_run:
                clear(url, cleared)
    _tell(gone, cleared, dry_run=dry_run, json=json)


def _not_seen(fleet: "FleetServer", wanted: str, older: str | None) -> list[str]:
    """Return the devices a filter is true of, that are not online and were not seen for so long."""
    import time

    limit_ms = 1000 * (time.time() - (tables.duration_s(older) if older else 0.0))
    return [
        f"{one['site']}/{one['device']}"
        for one in fleet.devices(wanted)
        if one["presence"] != "online" and one["last_seen_ms"] <= limit_ms
    ]


def _tell(gone: list[dict[str, Any]], cleared: list[str], *, dry_run: bool, json: bool) -> None:
    if json:
        tables.print_json({"dry_run": dry_run, "devices": gone, "cleared": cleared})
        return
    for topic in cleared:
        print(tables.plain(topic))
    verb = "would be forgotten" if dry_run else "forgotten"
    print(
        f"{tables.counted(len(gone), 'device')} {verb}"
        + (f", {tables.counted(len(cleared), 'topic')} cleared" if cleared and not dry_run else "")
    )


def _tell_one(one: dict[str, Any]) -> None:
    rows = ", ".join(f"{table.replace('_', ' ')} {count}" for table, count in one["rows"].items() if count)
    print(f"{one['device']}: {rows or 'nothing stored'}, {len(one['topics'])} retained topics", flush=True)
