"""`edgekit join`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from edgekit._join import Joined


def join(
    first: Annotated[Path, typer.Argument(metavar="A", help="The model that runs first.")],
    second: Annotated[Path, typer.Argument(metavar="B", help="The model that takes what A gives, or what A takes.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE.onnx", help="The one model to write.")],
    chain: Annotated[
        list[str] | None, typer.Option(metavar="OUT=IN", help="A's output goes into B's input; repeatable.")
    ] = None,
    share: Annotated[
        list[str] | None, typer.Option(metavar="IN=IN", help="A's input is B's input too; repeatable.")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Make one ONNX model of two: B behind A, or both on the same input. Convert and compress it like any other.

    Without --chain and --share, outputs of A go into inputs of B of the same names, or the only one into the only one.

    Examples:

        edgekit join normalise.onnx resnet.onnx -o whole.onnx

        edgekit join backbone.pt2 head.keras --chain features=input -o whole.onnx

        edgekit join faces.onnx hands.onnx --share image=image -o both.onnx
    """
    from edgekit._join import join as run

    with show(progress) as on_event:
        found = run(first, second, output, chain=_pairs(chain), share=_pairs(share), on_event=on_event)
    if json:
        import json as text

        typer.echo(text.dumps(found.to_json(), indent=2))
    else:
        _print(found)


def _pairs(given: Sequence[str] | None) -> dict[str, str]:
    from edgekit.errors import UsageError

    found: dict[str, str] = {}
    for text in given or ():
        name, equals, into = text.partition("=")
        if not name or not equals or not into:
            raise UsageError(f"'{text}' is not of the form name-in-A=name-in-B")
        if name in found:
            raise UsageError(f"'{name}' is given twice")
        found[name] = into
    return found


def _print(found: "Joined") -> None:
    console = stdout()
    for what, wires in (("goes into", found.chain), ("is also", found.share)):
        for into, name in wires.items():
            console.print(f"{name} {what} {into}", markup=False, highlight=False)
    for what, specs in (("takes", found.inputs), ("gives", found.outputs)):
        for one in specs:
            shape = "x".join("?" if size is None else str(size) for size in one.shape)
            console.print(f"{what} {one.name} {shape} {one.dtype}", markup=False, highlight=False)
    console.print(f"{found.path}: {found.figures['bytes']:,} bytes", markup=False, highlight=False)
