"""`edgekit fleet query`, `top`."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli._signals import sigterm_ends
from edgekit.cli.fleet import _tables as tables
from edgekit.cli.fleet._server_options import Json, Server, ServerCa, Wanted

if TYPE_CHECKING:
    from rich.text import Text

    from edgekit.fleet.remote import FleetServer

REFRESH_S = 2.0
FIGURES = ("p50_ms", "p90_ms", "p99_ms", "max_ms")
NARROW, SPARED = 100, frozenset({"p90 ms", "max ms", "dropped"})
ORDERS = ("p50", "p90", "p99", "max", "errors", "rate")

_Model = Annotated[str | None, typer.Option(metavar="M", help="Only this model.")]
_Version = Annotated[str | None, typer.Option(metavar="V", help="Only this version of it.")]
_Stage = Annotated[str, typer.Option(metavar="S", help="pre, infer, post, e2e or queue.")]


def query(
    wanted: Wanted = "",
    model: _Model = None,
    version: _Version = None,
    stage: _Stage = "infer",
    group: Annotated[
        str, typer.Option(metavar="G", help="none, device, version, hardware, model or version,hardware.")
    ] = "none",
    last: Annotated[str, typer.Option(metavar="T", help="How far back: 15m, 12h, 7d.")] = "1h",
    step: Annotated[
        str | None, typer.Option(metavar="T", help="A row for each so long, whole minutes. [default: one for all]")
    ] = None,
    histogram: Annotated[bool, typer.Option("--histogram", help="With --json: the merged histograms too.")] = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Json = False,
) -> None:
    """Tell latency over time or side by side; percentiles are of exactly merged histograms, never averages.

    Examples:

        edgekit fleet query --model kws --group version --last 24h

        edgekit fleet query --filter 'label.room=lab' --group device --stage e2e

        edgekit fleet query --model kws --last 6h --step 10m --json --histogram
    """
    import time

    from edgekit.fleet.remote import FleetServer

    end_ms = int(1000 * time.time())
    with FleetServer(server, ca=ca) as fleet:
        found = fleet.series(
            filter=wanted, model=model, version=version, stage=stage, group=group, histogram=histogram,
            from_ms=end_ms - int(1000 * tables.duration_s(last)), to_ms=end_ms,
            step_s=0 if step is None else int(tables.duration_s(step)),
        )  # fmt: skip
    if json:
        tables.print_json(found)
        return
    headings = [
        group if group != "none" else "all",
        *(["from"] if step else []),
        "p50 ms",
        "p90 ms",
        "p99 ms",
        "max ms",
    ]
    headings += ["inferences", "errors", "dropped", "rate/s", "reports"]
    rows: list[list[Text | str]] = []
    for line in found["groups"]:
        for point in line["points"]:
            when = [tables.moment(point["start_ms"])] if step else []
            rows.append([tables.plain(line["group"]) or "-", *when, *_cells(point), str(point["reports"])])
    keep = _fitting(headings)
    chosen = [headings[at] for at in keep]
    if rows:
        tables.print_table(chosen, [[row[at] for at in keep] for row in rows], right=chosen[2 if step else 1 :])
    else:
        print(f"nothing was measured in the last {last}")


def _fitting(headings: list[str]) -> list[int]:
    """Return which columns are shown: those to be spared are left out on a narrow terminal; --json has them all."""
    from edgekit.cli._console import stdout

    narrow = stdout().width < NARROW
    return [at for at, heading in enumerate(headings) if not (narrow and heading in SPARED)]


def _cells(point: dict[str, Any]) -> list[str]:
    figures = ["-" if point[name] is None else f"{point[name]:.3f}" for name in FIGURES]
    rate = "-" if point["rate_hz"] is None else f"{point['rate_hz']:.1f}"
    return [*figures, str(point["inferences"]), str(point["errors"]), str(point["dropped"]), rate]


def top(
    wanted: Wanted = "",
    model: _Model = None,
    stage: _Stage = "infer",
    by: Annotated[str, typer.Option(metavar="B", help=f"The worst by {', '.join(ORDERS)}.")] = "p99",
    count: Annotated[int, typer.Option("-n", "--count", metavar="N", min=1, max=1000, help="How many.")] = 20,
    last: Annotated[str, typer.Option(metavar="T", help="Figures of so long, whole minutes.")] = "5m",
    once: Annotated[bool, typer.Option("--once", help="Print once instead of going on until Ctrl-C.")] = False,
    server: Server = None,
    ca: ServerCa = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document, once.")] = False,
) -> None:
    """Show the slowest devices, live on a terminal and once where the output goes elsewhere.

    Examples:

        edgekit fleet top

        edgekit fleet top --by errors --filter 'model=kws' -n 50 --once
    """
    from edgekit.cli._console import stdout
    from edgekit.errors import UsageError
    from edgekit.fleet.remote import FleetServer

    if by not in ORDERS:
        raise UsageError(f"there is no order '{by[:40]}'; there are: {', '.join(ORDERS)}")
    asked = {"filter": wanted, "model": model, "stage": stage, "group": "device", "step_s": 0}
    seconds = tables.duration_s(last)
    with sigterm_ends(), FleetServer(server, ca=ca) as fleet:
        if json:
            tables.print_json({"by": by, "devices": _worst(fleet, asked, seconds, by)[:count]})
        elif once or not stdout().is_terminal:
            stdout().print(_table(_worst(fleet, asked, seconds, by)[:count]))
        else:
            _live(lambda: _table(_worst(fleet, asked, seconds, by)[:count]))


def _live(picture: Any) -> None:  # noqa: ANN401  # gives something rich prints
    import time

    from rich.live import Live

    from edgekit.cli._console import stdout

    with Live(picture(), console=stdout(), refresh_per_second=2) as live:
        while True:
            time.sleep(REFRESH_S)
            live.update(picture())


def _worst(fleet: "FleetServer", asked: dict[str, Any], seconds: float, by: str) -> list[dict[str, Any]]:
    import time

    end_ms = int(1000 * time.time())
    found = fleet.series(**asked, from_ms=end_ms - int(1000 * seconds), to_ms=end_ms)
    rows = [{"device": line["group"], **point} for line in found["groups"] for point in line["points"]]
    key = {"errors": "errors", "rate": "rate_hz"}.get(by, f"{by}_ms")
    return sorted(rows, key=lambda row: -(row[key] or 0))


def _table(rows: list[dict[str, Any]]) -> Any:  # noqa: ANN401  # rich's
    from rich.table import Table
    from rich.text import Text

    grid = Table(box=None, pad_edge=False, header_style="bold")
    headings = ["device", "p50 ms", "p90 ms", "p99 ms", "max ms", "inferences", "errors", "dropped", "rate/s"]
    keep = _fitting(headings)
    for at in keep:
        grid.add_column(headings[at], justify="right" if at else "left", overflow="fold")
    for row in rows:
        cells: list[Text | str] = [Text(tables.plain(row["device"])), *_cells(row)]
        grid.add_row(*(cells[at] for at in keep))
    return grid if rows else "nothing was measured in this time"
