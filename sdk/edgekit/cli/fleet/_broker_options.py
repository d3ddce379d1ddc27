"""The options by which a fleet command finds its broker."""

from pathlib import Path
from typing import Annotated

import typer

Broker = Annotated[str, typer.Option(metavar="URL", help="mqtt://[user[:password]@]host[:port], or mqtts://.")]
Ca = Annotated[Path | None, typer.Option(metavar="FILE", help="mqtts: whom to trust, PEM.")]
Cert = Annotated[Path | None, typer.Option(metavar="FILE", help="mqtts: our certificate, PEM.")]
Key = Annotated[Path | None, typer.Option(metavar="FILE", help="mqtts: its key, PEM.")]
DEFAULT_BROKER = "mqtt://127.0.0.1:1883"
