"""Options that commands which make artifacts share."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit._options import ConvertOptions

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


def read(
    recipe: Path | None,
    *,
    to: Sequence[str] | None,
    calib: str | None,
    evaluation: str | None,
    preprocess: str | None,
    metric: str | None,
    max_drop: float | None,
    shape: Sequence[str] | None,
    bench: bool | None,
    threads: int | None,
    seed: int | None,
    **own: object,
) -> "ConvertOptions":
    """Return the options of a recipe, if there is one, with what stands on the command line in their place.

    All but `own` is as typed; `own` are fields of `ConvertOptions` that one command alone has. None and empty mean
    "not given".

    Raises:
        UsageError: if a value cannot be read, or cannot be had with another.
        DataError: if the recipe, or a file that is named, cannot be read.
    """
    from edgekit import _options, _recipe

    return _options.override(
        _recipe.from_recipe(recipe) if recipe else _options.ConvertOptions(),
        to=tuple(to or ()),
        calib=calib,
        eval=evaluation,
        preprocess=_options.parse_preprocess(preprocess) if preprocess else None,
        metric=metric,
        max_drop=max_drop,
        shapes=dict(_options.parse_shape(text) for text in shape or ()),
        bench=bench,
        threads=threads,
        seed=seed,
        **own,
    )
