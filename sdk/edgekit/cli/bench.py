"""`edgekit bench`."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from edgekit._bench import BenchRow


def bench(
    models: Annotated[list[Path], typer.Argument(metavar="MODEL...", help="Artifacts: .tflite or OpenVINO .xml.")],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            metavar="R", help="ai-edge-litert, tflite-runtime, onnxruntime, openvino; repeatable. [default: auto]"
        ),
    ] = None,
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of one inference.")] = 1,
    streams: Annotated[
        int, typer.Option(metavar="N", min=1, max=256, help="Inferences at a time, to measure throughput beside one.")
    ] = 1,
    runs: Annotated[int, typer.Option(metavar="N", min=1, help="Timed inferences a model.")] = 200,
    warmup: Annotated[int, typer.Option(metavar="N", min=0, help="Untimed inferences before.")] = 20,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of the inputs.")] = 0,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Measure latency of artifacts on the runtimes of this machine, all in turns in one process.

    Examples:

        edgekit bench build/kws/models/saved_model.int8.tflite

        edgekit bench a.tflite b.tflite --runtime ai-edge-litert --runtime openvino --threads 2 --json

        edgekit bench a.xml --streams 4
    """
    from edgekit._bench import bench as run

    with show(progress) as on_event:
        result = run(
            models,
            tuple(runtime or ("auto",)),
            threads=threads,
            runs=runs,
            warmup=warmup,
            seed=seed,
            streams=streams,
            on_event=on_event,
        )
    if json:
        import json as text

        typer.echo(text.dumps(result.to_json(), indent=2))
    else:
        _print(result.rows)
    result.check()


def _print(rows: "tuple[BenchRow, ...]") -> None:
    headings = ("model", "runtime", "device", "p50 ms", "p90 ms", "p99 ms", "min ms", "load ms", "against first")
    _table(headings, [row.cells() for row in rows])
    several = [cells for row in rows for cells in row.stream_cells()]
    if several:
        stdout().print()
        _table(("model", "runtime", "streams", "inferences/s", "p50 ms", "p90 ms", "p99 ms", "against one"), several)


def _table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"model", "runtime", "device"} else "right")
    for cells in rows:
        table.add_row(*cells)
    stdout().print(table)
