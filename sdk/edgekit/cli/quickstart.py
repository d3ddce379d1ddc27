"""`edgekit quickstart`."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from edgekit._quickstart import DeviceSummary
    from edgekit.fleet import FleetClient

REFRESH_S = 0.5
PLAIN_S = 5.0


def quickstart(
    output: Annotated[Path, typer.Option("--output", "-o", metavar="DIR", help="Where the results are left.")] = Path(
        "build/quickstart"
    ),
    seconds: Annotated[float, typer.Option(metavar="S", min=2, max=600, help="How long to watch.")] = 20.0,
    engine: Annotated[str, typer.Option(metavar="E", help="The broker: auto, mosquitto or iotcore.")] = "auto",
    json: Annotated[bool, typer.Option("--json", help="Print the summary as one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Show the whole loop in about a minute: train, convert, run on two agents, watch their latency over MQTT.

    Trains a small convolutional net on real handwritten digits, converts it to TFLite int8 and OpenVINO int8, starts a
    broker and two agents on 127.0.0.1, shows their latency live, and ends by itself with a summary.

    Examples:

        edgekit quickstart

        edgekit quickstart --seconds 60 -o build/try --json
    """
    from edgekit._quickstart import quickstart as run

    with show(progress) as on_event, _live_table(quiet=json) as on_fleet:
        summary = run(output, seconds=seconds, engine=engine, on_event=on_event, on_fleet=on_fleet)
    if json:
        import json as text

        document = {"schema": 1, "folder": str(output), "devices": [one.to_json() for one in summary]}
        typer.echo(text.dumps(document, indent=2))
    else:
        _print(summary, output)


@contextmanager
def _live_table(quiet: bool) -> "Iterator[Callable[[FleetClient], None]]":
    """Give a callback that shows the fleet: a live table on a terminal, one every 5 s elsewhere."""
    import time

    from rich.live import Live

    from edgekit.fleet._render import table

    console = stdout()
    live = Live(console=console, auto_refresh=False, transient=True) if console.is_terminal else None
    shown = time.monotonic()

    def callback(client: "FleetClient") -> None:
        nonlocal shown
        now = time.monotonic()
        if quiet or now - shown < (REFRESH_S if live else PLAIN_S):
            return
        shown = now
        picture = table(client.fleet, str(client.url), now, devices=set(), model=None, width=console.width)
        if live is None:
            console.print(picture)
        else:
            live.start()
            live.update(picture, refresh=True)

    try:
        yield callback
    finally:
        if live is not None:
            live.stop()


def _row(one: "DeviceSummary") -> dict[str, str]:
    def figure(value: float | None, form: str) -> str:
        return "-" if value is None else format(value, form)

    return {
        "runtime": one.runtime,
        "size, bytes": f"{one.size_bytes:,}",
        "of the float model's": f"{one.size_bytes / one.float_size_bytes:.0%}",
        "accuracy, float": f"{one.accuracy_before:.2%}",
        "accuracy, int8": f"{one.accuracy_after:.2%}",
        "accuracy, on the device": figure(one.accuracy_on_device, ".2%"),
        "inferences": f"{one.inferences:,}",
        "p50 ms": figure(one.p50_ms, ".3f"),
        "p99 ms": figure(one.p99_ms, ".3f"),
    }


def _print(summary: "tuple[DeviceSummary, ...]", output: Path) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("as received over MQTT", no_wrap=True)
    for one in summary:
        table.add_column(one.device, justify="right", no_wrap=True)
    rows = [_row(one) for one in summary]
    for heading in rows[0]:
        table.add_row(heading, *(row[heading] for row in rows))
    console = stdout()
    console.print(table)
    console.print(f"the report: {output}/report.html", markup=False, highlight=False)
