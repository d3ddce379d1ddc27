"""`edgekit inspect`."""

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Any model edgekit reads, or an artifact.")],
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Show a model's inputs, outputs, operators, parameters, multiply-accumulates and size.

    Examples:

        edgekit inspect model.onnx

        edgekit inspect build/kws/models/saved_model.int8.tflite --json
    """
    from edgekit._inspect import inspect as run

    with show(progress) as on_event:
        found = run(model, on_event=on_event)
    if json:
        import json as text

        typer.echo(text.dumps(found, indent=2))
        return
    _print(found)


def _print(found: "dict[str, object]") -> None:
    from rich.table import Table

    console = stdout()
    known = [f"{found['format']}", f"{found['size_bytes']:,} bytes"]
    counts = (("parameters", "parameters"), ("macs", "MACs"))
    known += [f"{found[key]:,} {words}" for key, words in counts if found[key] is not None]
    console.print(f"{found['path']}: {', '.join(known)}", markup=False, highlight=False)
    tensors = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("", "name", "shape", "dtype"):
        tensors.add_column(heading)
    for kind in ("inputs", "outputs"):
        for spec in found[kind]:  # type: ignore[attr-defined]  # plain JSON
            shape = " x ".join("?" if size is None else str(size) for size in spec["shape"])
            tensors.add_row(kind[:-1], spec["name"], shape, spec["dtype"])
    console.print(tensors, markup=False)
    if found["operators"] is None:
        return
    operators = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("operator", "count", "parameters", "MACs"):
        operators.add_column(heading, justify="left" if heading == "operator" else "right")
    for row in found["operators"]:  # type: ignore[attr-defined]  # plain JSON
        operators.add_row(row["op"], f"{row['count']:,}", f"{row['parameters']:,}", f"{row['macs']:,}")
    console.print(operators)
