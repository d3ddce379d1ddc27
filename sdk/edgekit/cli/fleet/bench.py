"""`edgekit fleet bench`: of one device, or of all that a filter is true of."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import AnswerTimeout, Json, Server, ServerCa

if TYPE_CHECKING:
    from collections.abc import Callable

    from edgekit.fleet.benching import Measured
    from edgekit.fleet.remote import FleetServer

_FIGURES = ("p50", "p90", "p99", "min")


def bench(
    model: Annotated[str, typer.Option(metavar="M", help="The model, which goes on working meanwhile.")],
    device: Annotated[
        str | None,
        typer.Argument(metavar="DEVICE", help="SITE/DEVICE, or DEVICE where there is one of that name."),
    ] = None,
    wanted: Annotated[
        str | None,
        typer.Option("--filter", "-f", metavar="F", help="All these devices instead, as 'label.room=lab'; '' is all."),
    ] = None,
    runs: Annotated[int, typer.Option(metavar="N", min=1, max=10_000, help="Timed inferences.")] = 200,
    threads: Annotated[int | None, typer.Option(metavar="N", min=1, max=64, help="[default: the model's]")] = None,
    streams: Annotated[int, typer.Option(metavar="N", min=1, max=16, help="So many at a time.")] = 1,
    at_a_time: Annotated[
        int, typer.Option(metavar="N", min=1, max=64, help="--filter: so many devices measure at a time.")
    ] = 8,
    timeout: AnswerTimeout = 120.0,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Have devices measure a model they serve, in a process that gives way to everything else.

    With --filter those that are not online are named, and the exit code is 5 if one did not answer.

    Examples:

        edgekit fleet bench pi-hall-3 --model kws

        edgekit fleet bench pi-hall-3 --model kws --runs 1000 --threads 4 --json

        edgekit fleet bench --filter 'hardware~rpi*' --model kws
    """
    from edgekit.errors import UsageError
    from edgekit.fleet.remote import FleetServer

    if (device is None) == (wanted is None):
        error = UsageError("either a device or --filter says who is to measure")
        error.add_note("as edgekit fleet bench pi-hall-3 --model kws")
        error.add_note("or edgekit fleet bench --filter 'label.room=lab' --model kws")
        raise error
    arguments: dict[str, object] = {"model": model, "runs": runs, "streams": streams}
    if threads is not None:
        arguments["threads"] = threads
    with FleetServer(server, ca=ca) as fleet:
        if device is None:
            _many(fleet, wanted or "", arguments, timeout, at_a_time, json=json)
            return
        found = fleet.command(device, "benchmark", arguments, timeout, _progress())
    if json:
        tables.print_json({"device": device, "benchmark": found})
        return
    timing = found.get("timing") or {}
    figures = ", ".join(f"{name} {timing[f'{name}_ms']:.3f} ms" for name in _FIGURES)
    print(f"{tables.plain(_where(found))}: {figures} ({timing['runs']} runs)")
    for row in found.get("throughput", ()):
        print(f"{row['streams']} at a time: {row['per_second']:.1f} a second, p99 {row['p99_ms']:.3f} ms")


def _many(
    fleet: "FleetServer", wanted: str, arguments: dict[str, object], timeout: float, at_a_time: int, *, json: bool
) -> None:
    from edgekit.errors import DeviceError, UsageError
    from edgekit.fleet.benching import measure

    model = arguments["model"]
    devices = [one for one in fleet.devices(wanted) if any(served["name"] == model for served in one["models"])]
    if not devices:
        error = UsageError(f"no device that the filter is true of serves '{model}'")
        error.add_note(f"edgekit fleet ls --filter 'model={model}' tells which do")
        raise error
    found, tell = [], _progress()
    for one in measure(fleet, devices, arguments, timeout, at_a_time):
        found.append(one)
        tell(len(found) / len(devices))
    found.sort(key=lambda one: (one.device["hardware_name"], one.device["site"], one.device["device"]))
    if json:
        tables.print_json({"model": model, "devices": [_document(one) for one in found]})
    else:
        figures = [f"{name} ms" for name in _FIGURES]
        tables.print_table(["device", "hardware", "where", *figures], [_row(one) for one in found], right=figures)
    failed = [one for one in found if one.benchmark is None]
    if failed:
        raise DeviceError(f"{len(failed)} of {len(found)} devices did not answer")


def _document(one: "Measured") -> dict[str, Any]:
    device = {name: one.device[name] for name in ("site", "device", "hardware_name")}
    return {**device, "benchmark": one.benchmark, "error": one.error}


def _row(one: "Measured") -> list[str]:
    device = [tables.name_of(dict(one.device)), tables.plain(one.device["hardware_name"])]
    if one.benchmark is None:
        return [*device, tables.plain(one.error), *("-" for _ in _FIGURES)]
    timing = one.benchmark.get("timing") or {}
    return [*device, tables.plain(_where(one.benchmark)), *(f"{timing[f'{name}_ms']:.3f}" for name in _FIGURES)]


def _where(found: dict[str, Any]) -> str:
    return f"{found.get('runtime')} {found.get('version')} on {', '.join(map(str, found.get('executed_on') or ()))}"


def _progress() -> "Callable[[float], None]":
    """Return what tells the progress on stderr, where somebody looks."""
    import sys

    def tell(share: float) -> None:
        if sys.stderr.isatty():
            print(f"\r{share:.0%}", end="", file=sys.stderr, flush=True)

    return tell
