"""`edgekit fleet logs`, `bench`, `config set`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import Json, Name, Server, ServerCa

if TYPE_CHECKING:
    from collections.abc import Callable

config_app = typer.Typer(
    help="The configuration that devices are wanted to have.", no_args_is_help=True, rich_markup_mode=None
)

_Timeout = Annotated[float, typer.Option(metavar="S", min=1, max=3600, help="How long the answer is waited for.")]


def logs(
    device: Name,
    lines: Annotated[int, typer.Option("-n", "--lines", metavar="N", min=1, max=1000, help="How many.")] = 100,
    model: Annotated[str | None, typer.Option(metavar="M", help="Of the workers only those of this model.")] = None,
    timeout: _Timeout = 30.0,
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


def bench(
    device: Name,
    model: Annotated[str, typer.Option(metavar="M", help="The model, which goes on working meanwhile.")],
    runs: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Timed inferences.")] = 200,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, max=64, help="[default: the model's]")] = None,
    streams: Annotated[int, typer.Option(metavar="N", min=1, max=16, help="So many at a time.")] = 1,
    timeout: _Timeout = 120.0,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Have a device measure a model it serves, in a process that gives way to everything else.

    Examples:

        edgekit fleet bench pi-hall-3 --model kws

        edgekit fleet bench pi-hall-3 --model kws --runs 1000 --threads 4 --json
    """
    from edgekit.fleet.remote import FleetServer

    arguments: dict[str, object] = {"model": model, "runs": runs, "streams": streams}
    if threads is not None:
        arguments["threads"] = threads
    with FleetServer(server, ca=ca) as fleet:
        found = fleet.command(device, "benchmark", arguments, timeout, _progress())
    if json:
        tables.print_json({"device": device, "benchmark": found})
        return
    timing = found.get("timing") or {}
    figures = ", ".join(f"{name} {timing[f'{name}_ms']:.3f} ms" for name in ("p50", "p90", "p99", "min"))
    where = f"{found.get('runtime')} {found.get('version')} on {', '.join(map(str, found.get('executed_on') or ()))}"
    print(f"{tables.plain(where)}: {figures} ({timing['runs']} runs)")
    for row in found.get("throughput", ()):
        print(f"{row['streams']} at a time: {row['per_second']:.1f} a second, p99 {row['p99_ms']:.3f} ms")


def _progress() -> "Callable[[float], None]":
    """Return what tells the progress on stderr, where somebody looks."""
    import sys

    def tell(share: float) -> None:
        if sys.stderr.isatty():
            print(f"\r{share:.0%}", end="", file=sys.stderr, flush=True)

    return tell


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
    print(f"{'would concern' if dry_run else 'set for'} {len(devices)} devices{more}")
