"""`edgekit cut`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from edgekit._cut import Cut


def cut(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="ONNX, PyTorch, Keras or SavedModel.")],
    stages: Annotated[int, typer.Option(metavar="N", min=2, max=64, help="How many.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="DIR", help="Folder for the stages.")],
    runtime: Annotated[str, typer.Option(metavar="R", help="What runs them: onnxruntime, openvino.")] = "auto",
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the samples it is proved on.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Cut a model into stages that run in processes of their own, one behind the other.

    The cuts lie where least has to be handed over, between stages of about the same work. NAME.pipeline is then used
    like any other model: each stage works on one inference while the next one works on the one before.

    Examples:

        edgekit cut net.onnx --stages 2 -o build/cut

        edgekit bench net.onnx build/cut/net.pipeline --streams 2
    """
    from edgekit._cut import cut as run

    with show(progress) as on_event:
        found = run(model, stages, output, runtime=runtime, seed=seed, on_event=on_event)
    if json:
        import json as text

        typer.echo(text.dumps(found.to_json(), indent=2))
    else:
        _print(found)


def _print(found: "Cut") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("stage")
    table.add_column("work", justify="right")
    table.add_column("hands over", justify="right")
    table.add_column("values")
    whole = sum(one.work for one in found.stages)
    for at, one in enumerate(found.stages):
        behind = "" if at == len(found.stages) - 1 else f"{one.hands_over_bytes:,} bytes"
        table.add_row(one.file, f"{one.work / max(whole, 1):.1%}", behind, ", ".join(one.gives))
    stdout().print(table)
    stdout().print(f"written: {found.path}; outputs are the model's on {found.proved_on} samples")
