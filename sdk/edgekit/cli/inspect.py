"""`edgekit inspect`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from rich.table import Table

Document = dict[str, Any]  # plain JSON
_BAR_WIDTH = 24


def inspect(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="Any model edgekit reads, or an artifact.")],
    layers: Annotated[bool, typer.Option("--layers", help="Show every layer, with the memory alive at it.")] = False,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write a page with the graph drawn.")] = None,
    open_with: Annotated[
        str | None, typer.Option(metavar="VIEWER", help="Show it in netron or model-explorer, on 127.0.0.1.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Show what a model holds: inputs, outputs, operators, parameters, multiply-accumulates, and its memory plan.

    Examples:

        edgekit inspect model.onnx --layers --html model.html

        edgekit inspect build/kws/models/saved_model.int8.tflite --json
    """
    from edgekit._inspect import inspect as run
    from edgekit._viewers import find

    viewer = find(open_with) if open_with is not None else None  # a missing one is told before the work
    with show(progress) as on_event:
        found = run(model, on_event=on_event)
    if html is not None:
        from edgekit._html import write_page
        from edgekit._inspect_html import to_html

        write_page(html, to_html(found))
    if json:
        import json as text

        typer.echo(text.dumps(found, indent=2))
    else:
        _print(found, layers=layers)
    if viewer is not None:
        viewer.show(model)


def _print(found: Document, *, layers: bool) -> None:
    from edgekit._inspect_words import grid_of, remarks, shape_of

    console = stdout()
    known = [f"{found['format']}", f"{found['size_bytes']:,} bytes"]
    counts = (("parameters", "parameters"), ("macs", "MACs"))
    known += [f"{found[key]:,} {words}" for key, words in counts if found[key] is not None]
    console.print(f"{found['path']}: {', '.join(known)}", markup=False, highlight=False)
    tensors = _table("", "name", "shape", "dtype", "quantization")
    for kind in ("inputs", "outputs"):
        for spec in found[kind]:
            tensors.add_row(kind[:-1], spec["name"], shape_of(spec), spec["dtype"], grid_of(spec))
    console.print(tensors, markup=False)
    operators = _table("operator", ">count", ">parameters", ">MACs")
    for row in found["operators"]:
        operators.add_row(row["op"], f"{row['count']:,}", f"{row['parameters']:,}", f"{row['macs']:,}")
    console.print(operators)
    for line in (*_memory(found), *remarks(found)):
        console.print(line, markup=False, highlight=False)
    if layers:
        console.print(_layers(found), markup=False)


def _memory(found: Document) -> list[str]:
    from edgekit._inspect_words import alive_at_peak, shape_of

    memory, peak = found["memory"], found["memory"]["peak"]
    if peak is None:
        return []
    return [
        f"peak of activations: {memory['peak_bytes']:,} bytes at layer {peak['layer']} '{peak['name']}', holding",
        *(f"  {one['bytes'] or 0:>12,}  {name} {shape_of(one)} {one['dtype']}" for name, one in alive_at_peak(found)),
        f"one block for all activations: {memory['arena_bytes']:,} bytes",
        f"whatever the order of layers, at least: {memory['lower_bound_bytes']:,} bytes",
    ]


def _layers(found: Document) -> "Table":
    from edgekit._inspect_words import grid_of, shape_of

    table = _table(">#", "layer", "operator", "output", "quantization", ">parameters", ">MACs", ">alive bytes", "")
    peak = found["memory"]["peak_bytes"] or 1
    for place, layer in enumerate(found["layers"]):
        outputs = [found["tensors"][at] for at in layer["outputs"]]
        table.add_row(
            str(place),
            layer["name"],
            layer["op"],
            ", ".join(f"{shape_of(one)} {one['dtype']}" for one in outputs),
            "; ".join(filter(None, map(grid_of, outputs))),
            f"{layer['parameters']:,}" if layer["parameters"] else "",
            f"{layer['macs']:,}" if layer["macs"] else "",
            f"{layer['alive_bytes']:,}",
            "█" * round(_BAR_WIDTH * layer["alive_bytes"] / peak),
        )
    return table


def _table(*headings: str) -> "Table":
    """Return an empty table; a heading that begins with `>` is over a column of numbers."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading.lstrip(">"), justify="right" if heading.startswith(">") else "left")
    return table
