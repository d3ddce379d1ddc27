"""`edgekit evaluate`."""

from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli._progress import Progress, show


def evaluate(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An artifact (.tflite, .xml) or a source model.")],
    data: Annotated[str, typer.Option(metavar="DATA", help="Labelled data: .npz, .csv, a folder, MODULE:FUNCTION.")],
    metric: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="top1, top5, mae, mse, spearman, cosine, auc, f1, map or MODULE:FUNCTION. "
            "Default: that of the report beside the model, else top1.",
        ),
    ] = None,
    preprocess: Annotated[
        str | None,
        typer.Option(
            metavar="K=V,...|FILE.toml",
            help="How an image, a sound or a row becomes an input. Default: as the report beside the model says.",
        ),
    ] = None,
    runtime: Annotated[str, typer.Option(metavar="R", help="The runtime of an artifact.")] = "auto",
    threads: Annotated[int, typer.Option(metavar="N", min=1, help="Threads of one inference.")] = 1,
    weights_grid: Annotated[
        str | None,
        typer.Option(
            metavar="GRID[:K=V,...]",
            help="Simulate weights on a grid: linear, power-of-two, log, kmeans or nf4, as in kmeans:bits=4.",
        ),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Score a model on labelled data, with a 95 % confidence interval.

    Examples:

        edgekit evaluate build/kws/models/saved_model.int8.tflite --data kws.npz[200:1000]

        edgekit evaluate net.onnx --data photos --preprocess resize=224x224,mean=127,std=128,layout=nchw --json

        edgekit evaluate build/voice/models/voice.int8.xml --data mymetrics:sounds --metric mymetrics:word_errors

        edgekit evaluate net.onnx --data test.npz --weights-grid kmeans:bits=4
    """
    from edgekit import _options
    from edgekit._evaluate import evaluate as run

    how = _options.parse_preprocess(preprocess) if preprocess else None
    with show(progress) as on_event:
        score = run(
            model,
            data,
            metric=metric,
            preprocess=how,
            runtime=runtime,
            threads=threads,
            weights_grid=weights_grid,
            on_event=on_event,
        )
    if score.report:
        typer.echo(f"settings not given are those of {score.report}", err=True)
    for warning in score.warnings:
        typer.echo(f"warning: {warning}", err=True)
    if json:
        import json as text

        typer.echo(text.dumps(score.to_json(), indent=2))
    else:
        typer.echo(str(score))
