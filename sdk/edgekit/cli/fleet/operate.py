"""`edgekit fleet logs`, `config set`."""

from typing import Annotated, Any

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import AnswerTimeout, Json, Name, Server, ServerCa

config_app = typer.Typer(
    help="The configuration that devices are wanted to have.", no_args_is_help=True, rich_markup_mode=None
)


def logs(
    device: Name,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, max=1000, help="How many.")] = 100,
    model: Annotated[str | None, typer.Option(metavar="M", help="Of the workers only those of this model.")] = None,
    timeout: AnswerTimeout = 30.0,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Print the last lines of a device's agent and of its workers; passwords are never in them.

    Examples:

        edgekit fleet logs pi-hall-3

        edgekit fleet logs berlin/pi-hall-3 -n 20 --model kws
    """
    from edgekit.fleet.remote import FleetServer

    arguments: dict[str, object] = {"lines": lines, **({"model": model} if model else {})}
    with FleetServer(server, ca=ca) as fleet:
        found = fleet.command(device, "log-tail", arguments, timeout)
    if json:
        tables.print_json({"device": device, **found})
        return
    for line in found.get("log", ()):
        print(_plain_line(line))
    for worker, told in (found.get("workers") or {}).items():
        print(f"--- worker {tables.plain(worker)}")
        for line in told:
            print(_plain_line(line))


def _plain_line(line: object) -> str:
    return "".join(char if char.isprintable() or char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in str(line))


@config_app.command("set")
def config_set(
    pairs: Annotated[
        list[str], typer.Argument(metavar="KEY=VALUE...", help="As telemetry.window_s=5; KEY= takes away.")
    ],
    wanted: Annotated[
        str, typer.Option("--filter", "-f", metavar="F", help="Which devices, as 'label.room=lab'; '' is all.")
    ],
    replace: Annotated[
        bool, typer.Option("--replace", help="Take the place of all that was set, instead of lying over it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only tell which devices it concerns.")] = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Set configuration of devices, those too that are away: they take it when they are back.

    What can be set is in the guide of the agent: log_level, telemetry.*, model.NAME.rate_hz and others. A device
    checks all keys, takes all or none, and says so: `edgekit fleet show`.

    Examples:

        edgekit fleet config set telemetry.window_s=5 --filter 'label.room=lab'

        edgekit fleet config set model.kws.rate_hz=2 log_level=debug --filter 'device=pi-hall-3'

        edgekit fleet config set log_level= --filter '' --dry-run
    """
    from edgekit.fleet.configuration import check_keys, nested
    from edgekit.fleet.remote import FleetServer

    conf = nested(pairs)
    check_keys(conf)
    with FleetServer(server, ca=ca) as fleet:
        found: dict[str, Any] = fleet.configure(wanted, conf, replace=replace, dry_run=dry_run)
    if json:
        tables.print_json(found)
        return
    devices = found["devices"]
    for one in devices[:20]:
        print(tables.name_of(one) + (f": version {one['v']}" if not dry_run else ""))
    more = f" (and {len(devices) - 20} more)" if len(devices) > 20 else ""  # noqa: PLR2004  # as above
    print(f"{'would concern' if dry_run else 'set for'} {tables.counted(len(devices), 'device')}{more}")
