"""The options by which a fleet command finds the service, and the filter that says which devices."""

from pathlib import Path
from typing import Annotated

import typer

Server = Annotated[
    str | None,
    typer.Option(
        metavar="URL",
        envvar="EDGEKIT_FLEET_SERVER",
        help="The fleet's service. [default: http://127.0.0.1:8650]",
        show_envvar=True,
    ),
]
ServerCa = Annotated[
    Path | None,
    typer.Option(
        "--ca", metavar="FILE", envvar="EDGEKIT_FLEET_CA", help="https: whom to trust, PEM.", show_envvar=True
    ),
]
Wanted = Annotated[
    str, typer.Option("--filter", "-f", metavar="F", help="Which devices, as 'label.room=lab and not state=online'.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Name = Annotated[str, typer.Argument(metavar="DEVICE", help="SITE/DEVICE, or DEVICE where there is one of that name.")]
AnswerTimeout = Annotated[
    float, typer.Option("--timeout", metavar="S", min=1, max=3600, help="How long the answer is waited for.")
]
