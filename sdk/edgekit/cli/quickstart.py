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


def _print(summary: "tuple[DeviceSummary, ...]", output: Path) -> None:
    from rich.table import Table

    table = Table(title="As received over MQTT", title_justify="left", box=None, pad_edge=False, header_style="bold")
    headings = "device,runtime,size,of float,accuracy float,int8,on device,inferences,p50 ms,p99 ms"
    for heading in headings.split(","):
        table.add_column(heading, justify="left" if heading in {"device", "runtime"} else "right", no_wrap=True)
    for one in summary:
        on_device = "-" if one.accuracy_on_device is None else f"{one.accuracy_on_device:.2%}"
        table.add_row(
            one.device,
            one.runtime,
            f"{one.size_bytes:,}",
            f"{one.size_bytes / one.float_size_bytes:.0%}",
            f"{one.accuracy_before:.2%}",
            f"{one.accuracy_after:.2%}",
            on_device,
            f"{one.inferences:,}",
            "-" if one.p50_ms is None else f"{one.p50_ms:.3f}",
            "-" if one.p99_ms is None else f"{one.p99_ms:.3f}",
        )
    console = stdout()
    console.print(table)
    console.print(f"the report: {output}/report.html", markup=False, highlight=False)
