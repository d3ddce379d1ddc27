"""`edgekit fleet watch`."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli._signals import sigterm_ends
from edgekit.cli.fleet._broker_options import DEFAULT_BROKER, Broker, Ca, Cert, Key

if TYPE_CHECKING:
    from edgekit.fleet import FleetClient, Received

REFRESH_S = 0.5
PLAIN_S = 5.0


def watch(
    broker: Broker = DEFAULT_BROKER,
    site: Annotated[str | None, typer.Option(metavar="S", help="Only this site. [default: all]")] = None,
    device: Annotated[list[str] | None, typer.Option(metavar="D", help="Only this device; repeatable.")] = None,
    model: Annotated[list[str] | None, typer.Option(metavar="M", help="Only this model; repeatable.")] = None,
    window: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds the percentiles cover.")] = 60.0,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="End after N reports. [default: never]")] = None,
    seconds: Annotated[
        float | None, typer.Option("--for", metavar="S", min=0, help="End after S seconds. [default: never]")
    ] = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line a report and event.")] = False,
) -> None:
    """Show the latency of every device and model live, as their histograms arrive.

    Percentiles are of the exact merge of the histograms, never averages of percentiles.

    Examples:

        edgekit fleet watch --broker mqtt://192.0.2.10:1883

        edgekit fleet watch --json --count 10
    """
    import time

    from edgekit.fleet import FleetClient
    from edgekit.fleet._url import parse

    url = parse(broker, ca=ca, cert=cert, key=key)
    end = None if seconds is None else time.monotonic() + seconds
    chosen, models = set(device or ()), set(model or ())
    with sigterm_ends(), FleetClient(url, site, window) as client:
        show = _lines if json else _tables
        with show(client, chosen, models) as took:
            reports = 0
            while (count is None or reports < count) and (end is None or time.monotonic() < end):
                left = REFRESH_S if end is None else min(REFRESH_S, max(0.0, end - time.monotonic()))
                reports += took(_wanted(client.next_message(left), chosen, models))


def _wanted(received: "Received | None", devices: set[str], models: set[str]) -> "Received | None":
    if received is None or (devices and received.device not in devices):
        return None
    of = getattr(received.message, "model", None)
    return None if models and of is not None and of not in models else received


@contextmanager
def _lines(_client: "FleetClient", _devices: set[str], _models: set[str]) -> Iterator[Any]:
    import json

    from edgekit.fleet._render import to_json
    from edgekit_agent.protocol import Report

    def took(received: "Received | None") -> int:
        document = to_json(received) if received is not None else None
        if document is None or received is None:
            return 0
        print(json.dumps(document, separators=(",", ":")), flush=True)
        return int(isinstance(received.message, Report))

    yield took


@contextmanager
def _tables(client: "FleetClient", devices: set[str], models: set[str]) -> Iterator[Any]:
    import time

    from rich.live import Live

    from edgekit.cli._console import stdout
    from edgekit.fleet._render import table
    from edgekit_agent.protocol import Report

    console = stdout()
    shown = 0.0

    def picture() -> Any:  # noqa: ANN401  # something rich prints
        return table(
            client.fleet, str(client.url), time.monotonic(), devices=devices, model=models, width=console.width
        )

    def is_report(received: "Received | None") -> int:
        return int(received is not None and isinstance(received.message, Report))

    if console.is_terminal:
        with Live(picture(), console=console, refresh_per_second=4, transient=False) as live:

            def took(received: "Received | None") -> int:
                nonlocal shown
                if time.monotonic() - shown >= REFRESH_S:
                    shown = time.monotonic()
                    live.update(picture())
                return is_report(received)

            yield took
            live.update(picture())
        return

    def took_plain(received: "Received | None") -> int:
        nonlocal shown
        if received is not None and time.monotonic() - shown >= PLAIN_S:
            shown = time.monotonic()
            console.print(picture())
        return is_report(received)

    yield took_plain
    console.print(picture())
