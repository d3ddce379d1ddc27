"""Options that commands which make artifacts share."""

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[Path, typer.Argument(metavar="MODEL", help="A file, a SavedModel folder, or package.module:factory.")]
To = Annotated[
    list[str] | None,
    typer.Option("--to", metavar="TARGET", help="tflite, openvino or onnx; repeatable. [default: tflite, openvino]"),
]
Eval = Annotated[
    str | None, typer.Option("--eval", metavar="DATA", help="Data to judge every artifact on, with labels if any.")
]
Preprocess = Annotated[
    str | None,
    typer.Option(
        metavar="K=V,...|FILE.toml",
        help="How an image becomes an input: resize, crop, scale, mean, std, order (rgb, bgr, gray), layout.",
    ),
]
Metric = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="top1, top5, mae, mse, spearman, cosine, auc, f1, map, or package.module:function. [default: top1]",
    ),
]
MaxDrop = Annotated[
    float | None, typer.Option(metavar="X", help="Reject what loses more, as a share: 0.005 is half a point.")
]
Shape = Annotated[list[str] | None, typer.Option(metavar="NAME=1x3x224x224", help="Fix an input's shape; repeatable.")]
Bench = Annotated[bool | None, typer.Option("--bench/--no-bench", help="Measure latency.")]
Threads = Annotated[int | None, typer.Option(metavar="N", help="Threads to measure with. [default: 1]")]
Seed = Annotated[int | None, typer.Option(metavar="N", help="Seed of whatever is random. [default: 0]")]
Output = Annotated[Path | None, typer.Option("--output", "-o", metavar="DIR", help="[default: build/<model>]")]
AsJson = Annotated[bool, typer.Option("--json", help="Print report.json on stdout.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would be made, and make nothing.")]
Explain = Annotated[
    bool, typer.Option("--explain", help="Also print every step, and every rule that did not apply and why.")
]
