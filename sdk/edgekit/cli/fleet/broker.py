"""`edgekit fleet broker`."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from edgekit.cli._signals import sigterm_ends

REFRESH_S = 0.5


def broker(
    port: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=0, max=65535, help="The port; 0 takes a free one. [default: 1883; with --production 8883]"
        ),
    ] = None,
    engine: Annotated[str, typer.Option(metavar="E", help="auto, mosquitto or iotcore.")] = "auto",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it keeps its data. [default: a temporary folder]")
    ] = None,
    production: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Certificates and access rules of `edgekit fleet pki init`.")
    ] = None,
    address: Annotated[
        str, typer.Option(metavar="IP", help="With --production: where devices connect; 0.0.0.0 is any.")
    ] = "127.0.0.1",
    service_port: Annotated[
        int, typer.Option(metavar="N", min=0, max=65535, help="With --production: the port of services and operators.")
    ] = 8884,
    service_address: Annotated[
        str, typer.Option(metavar="IP", help="With --production: where services and operators connect.")
    ] = "127.0.0.1",
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it runs.")] = False,
) -> None:
    """Run a broker on 127.0.0.1 until Ctrl-C: mosquitto when it is installed, else the iotcore wheel.

    It lets everybody on this machine in: for trying things out, no security boundary. With --production it is mosquitto
    with a certificate for every device, access rules and a list of what was revoked; changes of the folder are taken
    over while it runs.

    Examples:

        edgekit fleet broker

        edgekit fleet broker --port 0 --engine iotcore --json

        edgekit fleet broker --production pki --address 0.0.0.0
    """
    if production is not None:
        _production(production, port, address, service_port, service_address, json=json)
    import json as text
    import time

    from edgekit.errors import DeviceError
    from edgekit.fleet._brokers import running

    with sigterm_ends(), running(1883 if port is None else port, engine, data) as run:
        if json:
            print(text.dumps({"schema": 1, "url": run.url, "engine": run.engine}), flush=True)
        else:
            print(f"{run.url} ({run.engine}); this machine only, no access control; Ctrl-C ends it", flush=True)
        while run.alive():
            time.sleep(REFRESH_S)
        raise DeviceError(f"the broker {run.url} ended by itself")


def _production(
    folder: Path, port: int | None, address: str, service_port: int, service_address: str, *, json: bool
) -> NoReturn:
    import json as text
    import os
    import time

    from edgekit.errors import DeviceError
    from edgekit.fleet._brokers import free_port
    from edgekit.fleet.security.mosquitto import DEVICE_PORT, Listening
    from edgekit.fleet.security.running import running

    wanted = DEVICE_PORT if port is None else port
    listening = Listening(
        address=address,
        port=wanted or free_port(),
        service_address=service_address,
        service_port=service_port or free_port(),
    )
    if os.geteuid() == 0:
        typer.echo("warning: mosquitto runs as root here; an ordinary user who owns the folder is enough", err=True)
    with sigterm_ends(), running(folder, listening) as run:
        if json:
            document = {"schema": 1, "url": run.url, "services": run.service_url, "engine": run.engine}
            print(text.dumps(document), flush=True)
        else:
            print(f"{run.url} for devices, {run.service_url} for services; Ctrl-C ends it", flush=True)
        while run.alive():
            time.sleep(REFRESH_S)
            if run.refresh():
                typer.echo("certificates or rules have changed: mosquitto knows", err=True)
        raise DeviceError(f"the broker {run.url} ended by itself")
