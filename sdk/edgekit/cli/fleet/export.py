"""`edgekit fleet export`: what the fleet's store has, as files for other tools."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.fleet._store_options import StoreUrl

if TYPE_CHECKING:
    from edgekit.fleet.store.history import Extract

app = typer.Typer(
    help="Export measurements, dashboards and configurations.", no_args_is_help=True, rich_markup_mode=None
)

Begin = Annotated[str, typer.Option("--from", metavar="T", help="24h, 30m, 7d (ago), or ISO 8601, UTC.")]
End = Annotated[str, typer.Option("--to", metavar="T", help="The same, or now.")]
Detail = Annotated[str, typer.Option(metavar="D", help="report (kept for 24 h), minute (30 days) or hour (2 years).")]
Which = Annotated[
    str, typer.Option("--filter", metavar="F", help="Only these devices, as label.room=lab and not state=offline.")
]
Model = Annotated[str | None, typer.Option(metavar="M", help="Only this model.")]
Version = Annotated[str | None, typer.Option(metavar="V", help="Only this version.")]
Histograms = Annotated[bool, typer.Option("--histograms", help="With each stage's whole histogram, as JSON.")]


@app.command("csv")
def csv(
    output: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="Where to. [default: stdout]")] = None,
    store: StoreUrl = None,
    begin: Begin = "24h",
    end: End = "now",
    detail: Detail = "minute",
    devices: Which = "",
    model: Model = None,
    version: Version = None,
    histograms: Histograms = False,
) -> None:
    """Write measurements as CSV, row by row as they are read.

    Examples:

        edgekit fleet export csv --from 7d --detail hour --model kws > week.csv

        edgekit fleet export csv today.csv --filter label.room=lab --histograms
    """
    import os
    import sys

    from edgekit.cli.fleet._store_options import existing_store

    with existing_store(store) as opened:
        extract = _extract(begin, end, detail, devices, model, version)
        from edgekit.fleet.export.columns import columns
        from edgekit.fleet.export.csv_file import write_csv

        rows, chosen = opened.history.rows(extract), columns(histograms=histograms)
        if output is None:
            write_csv(rows, chosen, sys.stdout)
            return
        beside = output.with_name(f".{output.name}.{os.getpid()}")
        try:
            with beside.open("w", encoding="utf-8", newline="") as out:
                count = write_csv(rows, chosen, out)
            beside.replace(output)
        finally:
            beside.unlink(missing_ok=True)
    typer.echo(f"{output}: {count} rows", err=True)


@app.command("parquet")
def parquet(
    output: Annotated[Path, typer.Argument(metavar="FILE", help="Where to.")],
    store: StoreUrl = None,
    begin: Begin = "24h",
    end: End = "now",
    detail: Detail = "minute",
    devices: Which = "",
    model: Model = None,
    version: Version = None,
    histograms: Histograms = False,
) -> None:
    """Write measurements as Parquet, with the same columns as CSV. Needs the extra `parquet`.

    Examples:

        edgekit fleet export parquet month.parquet --from 30d

        edgekit fleet export parquet raw.parquet --detail report --histograms
    """
    from edgekit.cli.fleet._store_options import existing_store

    with existing_store(store) as opened:
        extract = _extract(begin, end, detail, devices, model, version)
        from edgekit.fleet.export.columns import columns
        from edgekit.fleet.export.parquet_file import write_parquet

        count = write_parquet(opened.history.rows(extract), columns(histograms=histograms), output)
    typer.echo(f"{output}: {count} rows", err=True)


@app.command("grafana")
def grafana(output: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to write them into.")]) -> None:
    """Write Grafana's dashboards of the fleet, its models and its hardware, to import or provision.

    Examples:

        edgekit fleet export grafana dashboards/
    """
    from edgekit.fleet.export.grafana import write

    for path in write(output):
        typer.echo(path)


@app.command("telegraf")
def telegraf(
    server: Annotated[
        str, typer.Option(metavar="URL", envvar="EDGEKIT_FLEET_SERVER", help="The service.")
    ] = "http://127.0.0.1:8650",
    broker: Annotated[
        str, typer.Option(metavar="URL", help="The broker as Telegraf names it.")
    ] = "tcp://127.0.0.1:1883",
    token_file: Annotated[Path, typer.Option(metavar="FILE", help="Where Telegraf finds its token.")] = Path(
        "/etc/telegraf/edgekit.token"
    ),
) -> None:
    """Print a configuration for Telegraf.

    Examples:

        edgekit fleet export telegraf > /etc/telegraf/telegraf.d/edgekit.conf
    """
    from edgekit.errors import UsageError
    from edgekit.fleet.export.telegraf import snippet

    for text in (server, broker, str(token_file)):
        if set(text) & set("\"\\\n\r'"):
            raise UsageError(f"'{text[:80]}' has a quote, backslash or line end, which no configuration takes")
    typer.echo(snippet(server, broker, str(token_file)), nl=False)


def _extract(begin: str, end: str, detail: str, devices: str, model: str | None, version: str | None) -> "Extract":
    import time

    from edgekit.cli.fleet._store_options import moment_ms
    from edgekit.errors import UsageError
    from edgekit.fleet.query import parse
    from edgekit.fleet.store.history import DETAILS, Extract

    if detail not in DETAILS:  # before the first line is written
        raise UsageError(f"there is no detail '{detail[:40]}'; there are: {', '.join(DETAILS)}")
    now_ms = int(time.time() * 1000)
    return Extract(
        from_ms=moment_ms(begin, now_ms),
        to_ms=moment_ms(end, now_ms),
        detail=detail,
        wanted=parse(devices).matches if devices.strip() else None,
        model=model,
        version=version,
    )
