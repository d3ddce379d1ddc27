"""`edgekit targets`: the device profiles."""

from typing import Annotated

import typer

from edgekit.cli._console import stdout

app = typer.Typer(help="Device profiles to check models against.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


@app.command("list")
def list_targets(json: _Json = False) -> None:
    """List the targets with their runtimes."""
    from edgekit._targets import SCHEMA, targets

    known = targets()
    if json:
        import json as text

        typer.echo(text.dumps({"schema": SCHEMA, "targets": [one.to_json() for one in known.values()]}, indent=2))
        return
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("target", "device", "runtimes"):
        table.add_column(heading)
    for one in known.values():
        table.add_row(one.id, one.name, ", ".join(one.runtimes))
    stdout().print(table, markup=False)


@app.command()
def show(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A target, or a .toml file.")], json: _Json = False
) -> None:
    """Show one target."""
    from edgekit._targets import SCHEMA, target

    one = target(name)
    if json:
        import json as text

        typer.echo(text.dumps({"schema": SCHEMA, **one.to_json()}, indent=2))
        return
    for key, value in one.to_json().items():
        typer.echo(f"{key}: {', '.join(value) if isinstance(value, list) else value}")
