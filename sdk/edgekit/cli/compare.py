"""`edgekit compare`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from edgekit._compare import Comparison, LayerError
    from edgekit._metrics import Agreement

_SHOWN = 40


def compare(
    source: Annotated[Path, typer.Argument(metavar="A", help="What is right: a model edgekit reads, or an artifact.")],
    artifact: Annotated[Path, typer.Argument(metavar="B", help="What is held against it.")],
    data: Annotated[str, typer.Option(metavar="DATA", help="Samples as A takes them: .npz, .npy, or an image folder.")],
    layers: Annotated[bool, typer.Option("--layers", help="Compare layer by layer, the most damage first.")] = False,
    preprocess: Annotated[
        str | None, typer.Option(metavar="K=V,...|FILE.toml", help="How an image becomes an input.")
    ] = None,
    max_error: Annotated[
        float | None, typer.Option(metavar="X", min=0, help="Largest absolute difference allowed (exit code 6).")
    ] = None,
    min_snr: Annotated[
        float | None, typer.Option(metavar="DB", help="Least signal-to-noise ratio allowed (exit code 6).")
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Show how far two models are apart on the same samples: at their outputs and, with --layers, where it comes from.

    Examples:

        edgekit compare model.h5 build/model/models/model.int8.tflite --data images[0:64] --layers

        edgekit compare net.onnx net.int8.xml --data calib.npz --min-snr 20 --json
    """
    from edgekit import _options
    from edgekit._compare import compare as run

    how = _options.parse_preprocess(preprocess) if preprocess else {}
    with show(progress) as on_event:
        found = run(source, artifact, data, layers=layers, preprocess=how, on_event=on_event)
    if json:
        import json as text

        typer.echo(text.dumps(found.to_json(), indent=2))
    else:
        _print(found)
    found.check(max_error=max_error, min_snr=min_snr)


def _print(found: "Comparison") -> None:
    from rich.table import Table

    console = stdout()
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("output")
    for heading in ("max diff", "SNR dB", "cosine", "same top-1"):
        table.add_column(heading, justify="right")
    for name, one in (found.agreement.outputs or {}).items():
        table.add_row(name, *_outputs(one))
    console.print(table, markup=False)
    if found.layers is None:
        return
    rows = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("layer", "operator"):
        rows.add_column(heading)
    for heading in ("damage", "own error", "error", "SNR dB", "max diff"):
        rows.add_column(heading, justify="right")
    for layer in found.layers[:_SHOWN]:
        rows.add_row(layer.layer, layer.op, *_figures(layer))
    console.print(rows, markup=False)
    if len(found.layers) > _SHOWN:
        console.print(f"{len(found.layers) - _SHOWN} more layers: --json has all", highlight=False)
    if found.unmatched:
        console.print(f"without counterpart: {', '.join(found.unmatched)}", markup=False, highlight=False)


def _outputs(one: "Agreement") -> tuple[str, ...]:
    exact = one.max_abs == 0
    return (
        f"{one.max_abs:.3g}",
        "exact" if exact else f"{one.snr_db:.1f}",
        f"{one.cosine:.6f}",
        "-" if one.top1 is None else f"{one.top1:.1%}",
    )


def _figures(layer: "LayerError") -> tuple[str, ...]:
    shares = ("-" if share is None else f"{share:.3%}" for share in (layer.damage, layer.own_error, layer.error))
    ratio = "exact" if layer.error == 0 else "-" if layer.snr_db is None else f"{layer.snr_db:.1f}"
    return *shares, ratio, f"{layer.max_abs:.3g}"
