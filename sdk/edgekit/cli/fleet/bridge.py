"""`edgekit fleet bridge`: tells what the fleet reports to other systems, until it is stopped."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.fleet._broker_options import DEFAULT_BROKER, Ca, Cert, Key
from edgekit.cli.fleet._store_options import StoreUrl

if TYPE_CHECKING:
    import threading

    from edgekit.fleet._url import BrokerUrl

app = typer.Typer(help="Tell other systems what the fleet reports.", no_args_is_help=True, rich_markup_mode=None)

Broker = Annotated[
    str,
    typer.Option(
        metavar="URL",
        envvar="EDGEKIT_BRIDGE_BROKER",
        help="The other system's: mqtt://[user@]host[:port], or mqtts://.",
    ),
]
Password = Annotated[Path | None, typer.Option(metavar="FILE", help="A file with the password of the URL's user.")]


@app.command("homeassistant")
def homeassistant(
    store: StoreUrl = None,
    broker: Broker = DEFAULT_BROKER,
    password_file: Password = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    prefix: Annotated[str, typer.Option(metavar="P", help="Home Assistant's discovery prefix.")] = "homeassistant",
    base: Annotated[str, typer.Option(metavar="B", help="Topic of the figures; one a fleet.")] = "edgekit",
) -> None:
    """Show devices and models in Home Assistant, by MQTT discovery.

    Examples:

        edgekit fleet bridge homeassistant --broker mqtt://edgekit@homeassistant.local --password-file ha.password
    """
    from edgekit.cli.fleet._store_options import existing_store

    url = _url(broker, password_file, ca, cert, key)
    with existing_store(store) as opened, _until_stopped() as stop:
        from edgekit.fleet.export.bridging import run
        from edgekit.fleet.export.homeassistant import HomeAssistantBridge

        _say(f"Home Assistant at {url}")
        run(HomeAssistantBridge(opened, prefix=prefix, base=base), opened, url, stop, once=True)


@app.command("sparkplug")
def sparkplug(
    store: StoreUrl = None,
    broker: Broker = DEFAULT_BROKER,
    password_file: Password = None,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    group: Annotated[str, typer.Option(metavar="G", help="Sparkplug's group id.")] = "EdgeKit",
    node: Annotated[str, typer.Option(metavar="N", help="The edge node's id.")] = "fleet",
    primary_host: Annotated[
        str | None, typer.Option(metavar="H", help="Wait for this host application, and keep what comes meanwhile.")
    ] = None,
) -> None:
    """Tell reports and presence as a Sparkplug B 3.0 edge node.

    Examples:

        edgekit fleet bridge sparkplug --broker mqtt://scada.example --group plant-7 --primary-host ignition
    """
    from edgekit.cli.fleet._store_options import existing_store

    url = _url(broker, password_file, ca, cert, key)
    with existing_store(store) as opened, _until_stopped() as stop:
        from edgekit.fleet.export.bridging import run
        from edgekit.fleet.export.sparkplug import SparkplugBridge

        _say(f"Sparkplug's hosts at {url}")
        bridge = SparkplugBridge(opened, group=group, node=node, primary_host=primary_host)
        run(bridge, opened, url, stop, once=True)


@app.command("otlp")
def otlp(
    endpoint: Annotated[
        str, typer.Argument(metavar="URL", envvar="OTEL_EXPORTER_OTLP_ENDPOINT", help="http(s)://host:4318")
    ],
    store: StoreUrl = None,
    delta: Annotated[bool, typer.Option("--delta", help="Tell what is new, instead of totals.")] = False,
    every: Annotated[float, typer.Option(metavar="S", min=1, help="Seconds between pushes.")] = 15.0,
    headers_file: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Lines of NAME: VALUE. [default: $OTEL_EXPORTER_OTLP_HEADERS]"),
    ] = None,
    ca: Annotated[Path | None, typer.Option(metavar="FILE", help="https: whom to trust, PEM.")] = None,
) -> None:
    """Push metrics to an OpenTelemetry collector, as exponential histograms.

    Examples:

        edgekit fleet bridge otlp http://127.0.0.1:4318

        edgekit fleet bridge otlp https://otel.example --headers-file otlp.headers --delta
    """
    from edgekit.cli.fleet._store_options import existing_store

    with existing_store(store) as opened, _until_stopped() as stop:
        from edgekit.fleet.export.otlp import OtlpPusher, OtlpSettings
        from edgekit.fleet.export.secret_headers import from_environment, from_file

        headers = from_file(headers_file) if headers_file else from_environment()
        trusted = None if ca is None else str(ca)
        settings = OtlpSettings(endpoint=endpoint, headers=headers, delta=delta, every_s=every, ca=trusted)
        pusher = OtlpPusher(opened, settings)
        _say(f"the collector at {endpoint}, every {every:g} s")
        pusher.run(stop)


def _say(whom: str) -> None:
    """Tell who waits at the terminal that it has begun."""
    typer.echo(f"telling {whom}; Ctrl-C ends it", err=True)


def _url(broker: str, password_file: Path | None, ca: Path | None, cert: Path | None, key: Path | None) -> "BrokerUrl":
    from dataclasses import replace

    from edgekit.errors import UsageError
    from edgekit.fleet._url import parse
    from edgekit_agent.secret_files import keep_secret

    url = parse(broker, ca=ca, cert=cert, key=key)
    if password_file is None:
        return url
    if url.username is None:
        raise UsageError("--password-file needs a user in the broker's URL: mqtt://user@host")
    keep_secret("--password-file", str(password_file))
    return replace(url, password=password_file.read_text().rstrip("\n"))


@contextmanager
def _until_stopped() -> Iterator["threading.Event"]:
    """Set an event at SIGTERM, SIGHUP or Ctrl-C, so that a bridge can say farewell."""
    import signal
    import threading
    from types import FrameType

    stop = threading.Event()
    interrupted = False

    def end(number: int, _frame: FrameType | None) -> None:
        nonlocal interrupted
        interrupted |= number == signal.SIGINT
        stop.set()

    before = {number: signal.signal(number, end) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if interrupted:
        raise typer.Exit(130)
