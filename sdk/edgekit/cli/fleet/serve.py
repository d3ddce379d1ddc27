"""`edgekit fleet serve`: store what the devices report."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli.fleet._broker_options import DEFAULT_BROKER, Broker, Ca, Cert, Key

if TYPE_CHECKING:
    from edgekit.fleet.service.settings import ServeSettings


def serve(
    broker: Broker = DEFAULT_BROKER,
    store: Annotated[
        str | None,
        typer.Option(metavar="URL", help="sqlite:///PATH or postgresql://... [default: fleet.db in the data folder]"),
    ] = None,
    store_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A file (0600) with that URL, when it holds a password.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            envvar="EDGEKIT_FLEET_DATA",
            help="The service's folder. [default: ~/.local/share/edgekit/fleet]",
        ),
    ] = None,
    ingest: Annotated[int, typer.Option(metavar="N", min=1, max=64, help="Processes that store reports.")] = 1,
    listen: Annotated[str, typer.Option(metavar="HOST:PORT", help="Where the page and the API are.")] = (
        "127.0.0.1:8650"
    ),
    site: Annotated[
        str, typer.Option(metavar="S", help="The site that learns at once when the service is gone.")
    ] = "default",
    keep_reports: Annotated[float, typer.Option(metavar="HOURS", min=0.1, help="How long reports stay.")] = 24.0,
    keep_minutes: Annotated[float, typer.Option(metavar="DAYS", min=0.1, help="How long minutes stay.")] = 30.0,
    keep_hours: Annotated[float, typer.Option(metavar="DAYS", min=0.1, help="How long hours stay.")] = 730.0,
    metrics_devices: Annotated[
        bool, typer.Option("--metrics-devices", help="Name the device in /metrics: as many series then as devices.")
    ] = False,
    device_rate: Annotated[
        float, typer.Option(metavar="N", min=0, help="Reports a second of one device; more wait with it. 0: any.")
    ] = 100.0,
    device_burst: Annotated[
        int, typer.Option(metavar="N", min=200, help="Reports of one device at once, before that counts.")
    ] = 60_000,
    ca: Ca = None,
    cert: Cert = None,
    key: Key = None,
    tls_cert: Annotated[Path | None, typer.Option(metavar="FILE", help="https: the page's certificate, PEM.")] = None,
    tls_key: Annotated[Path | None, typer.Option(metavar="FILE", help="https: its key, PEM.")] = None,
    trusted_proxy: Annotated[
        list[str] | None,
        typer.Option(metavar="IP", help="Address or network of a proxy that signs people in; repeatable."),
    ] = None,
    group_role: Annotated[
        list[str] | None,
        typer.Option(metavar="GROUP=ROLE", help="What a group that the proxy names may do; repeatable."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it runs.")] = False,
) -> None:
    """Store the reports of all devices, show them on a page, and answer programs, until SIGTERM or Ctrl-C.

    A report is acknowledged to its device after it is committed; what is not, the device sends again. A broker that is
    away is tried again. The page is for this machine; on another address it needs users (`edgekit fleet user add`) and
    TLS, its own or a proxy's. Whoever reads the file `token` in the service's folder is admin. With --tls-cert, SIGHUP
    has certificate and key read anew.

    Examples:

        edgekit fleet serve

        edgekit fleet serve --broker mqtts://broker.example --store postgresql://edgekit@127.0.0.1/fleet --ingest 2
    """
    import logging
    import sys

    from edgekit.errors import EnvironmentMissingError
    from edgekit.fleet._url import parse, tls_context
    from edgekit_agent.errors import ProtocolError
    from edgekit_agent.protocol import check_name

    try:
        import fastapi  # noqa: F401  # is the extra here?
        import msgspec  # noqa: F401
        import sqlalchemy  # noqa: F401
        import uvicorn  # noqa: F401
    except ImportError as exc:
        error = EnvironmentMissingError(f"the fleet service needs {exc.name}")
        error.add_note("pip install 'edgekit-sdk[fleet]'")
        raise error from exc
    from edgekit.errors import UsageError
    from edgekit.fleet.service.settings import ServeSettings, parse_listen
    from edgekit.fleet.store import Keep

    url = parse(broker, ca=ca, cert=cert, key=key)
    tls_context(url)  # a file that cannot be read is told at once
    try:
        check_name(site, "site")
    except ProtocolError as exc:
        raise UsageError(str(exc)) from exc
    if store_file is not None:
        from edgekit.fleet.security import read_secret

        if store is not None:
            raise UsageError("--store and --store-file are two stores")
        store = read_secret(store_file)
    folder = (data or Path.home() / ".local" / "share" / "edgekit" / "fleet").absolute()
    host, port = parse_listen(listen)
    settings = ServeSettings(
        store=store or f"sqlite:///{folder / 'fleet.db'}",
        broker=url,
        data=folder,
        ingest=ingest,
        site=site,
        listen_host=host,
        listen_port=port,
        tls_cert=tls_cert,
        tls_key=tls_key,
        trusted_proxies=tuple(trusted_proxy or ()),
        group_roles=tuple(group_role or ()),
        keep=Keep(reports_h=keep_reports, minutes_d=keep_minutes, hours_d=keep_hours),
        metrics_devices=metrics_devices,
        device_rate=device_rate,
        device_burst=device_burst,
    )
    logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stderr)
    if _run(settings, json=json):
        raise KeyboardInterrupt


def _run(settings: "ServeSettings", *, json: bool) -> bool:
    """Run the service; return whether Ctrl-C ended it."""
    import asyncio
    import signal

    from edgekit.errors import EdgeKitError, EnvironmentMissingError
    from edgekit.fleet.service.service import Service
    from edgekit.fleet.store import open_store
    from edgekit_agent.durable import held

    interrupted: list[int] = []

    async def live(service: Service) -> None:
        stop = asyncio.Event()
        loop = asyncio.get_running_loop()

        def end(number: int) -> None:
            interrupted.append(number)
            stop.set()

        def renew() -> None:
            try:
                service.renew()
                typer.echo("the page's certificate is read anew", err=True)
            except EdgeKitError as exc:
                typer.echo(f"the page keeps its certificate: {exc}", err=True)

        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            loop.add_signal_handler(number, end, number)
        if settings.tls_cert is not None:
            loop.add_signal_handler(signal.SIGHUP, renew)
        await service.run(stop, lambda: _ready(settings, service.page_url, json=json))

    try:
        settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    except OSError as exc:
        raise EnvironmentMissingError(f"the service's folder '{settings.data}' cannot be used: {exc.strerror}") from exc
    try:
        with held(settings.data / "lock"), open_store(settings.store) as opened:
            asyncio.run(live(Service(settings, opened)))
    except BlockingIOError as exc:
        raise EnvironmentMissingError(f"another fleet service runs on '{settings.data}'") from exc
    return signal.SIGINT in interrupted


def _ready(settings: "ServeSettings", page: str | None, *, json: bool) -> None:
    import json as text

    from edgekit.fleet.store.engine import parse, shown

    store = shown(parse(settings.store))
    if json:
        document = {
            "schema": 1,
            "store": store,
            "broker": str(settings.broker),
            "url": page,
            "ingest": settings.ingest,
            "data": str(settings.data),
        }
        print(text.dumps(document), flush=True)
    else:
        print(f"storing what comes over {settings.broker} in {store}; Ctrl-C ends it", flush=True)
        print(f"{page} shows it; sign in with the token in '{settings.data / 'token'}', or as a user", flush=True)
