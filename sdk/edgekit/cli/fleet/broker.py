"""`edgekit fleet broker`."""

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli._signals import sigterm_ends

REFRESH_S = 0.5


def broker(
    port: Annotated[int, typer.Option(metavar="N", min=0, max=65535, help="The port; 0 takes a free one.")] = 1883,
    engine: Annotated[str, typer.Option(metavar="E", help="auto, mosquitto or iotcore.")] = "auto",
    data: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where it keeps its data. [default: a temporary folder]")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON line when it runs.")] = False,
) -> None:
    """Run a broker on 127.0.0.1 until Ctrl-C: mosquitto when it is installed, else the iotcore wheel.

    It lets everybody on this machine in: for trying things out, no security boundary. For devices on a network take a
    broker with certificates and access rules.

    Examples:

        edgekit fleet broker

        edgekit fleet broker --port 0 --engine iotcore --json
    """
    import json as text
    import time

    from edgekit.errors import DeviceError
    from edgekit.fleet._brokers import running

    with sigterm_ends(), running(port, engine, data) as run:
        if json:
            print(text.dumps({"schema": 1, "url": run.url, "engine": run.engine}), flush=True)
        else:
            print(f"{run.url} ({run.engine}); this machine only, no access control; Ctrl-C ends it", flush=True)
        while run.alive():
            time.sleep(REFRESH_S)
        raise DeviceError(f"the broker {run.url} ended by itself")
