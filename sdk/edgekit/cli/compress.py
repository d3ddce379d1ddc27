"""`edgekit compress`."""

from json import dumps
from pathlib import Path
from typing import Annotated

import typer

from edgekit.cli import _conversion_options as given
from edgekit.cli._progress import Progress
from edgekit.cli.convert import carry_out

_EXAMPLES = """Make a model smaller or faster on its graph, step by step, and measure what every step did.

Steps work on the float model and need no training framework unless they say so; `edgekit compress --list` shows them.
The result is written in float for every target with a report; `edgekit convert --recipe` does the same steps before it
quantizes.

Examples:

    edgekit compress net.onnx --technique fuse --calib train.npz --eval test.npz -o build/small

    edgekit compress net.onnx -t prune-channels:macs=0.5 -t factorize:energy=0.98 --calib train.npz --eval test.npz
        --max-drop 0.01 -o build/small

    edgekit compress net.onnx --recipe small.toml --explain
"""


def compress(  # noqa: D103  # its docstring is _EXAMPLES
    model: Annotated[
        Path | None, typer.Argument(metavar="MODEL", help="A file, a SavedModel folder, or package.module:factory.")
    ] = None,
    technique: Annotated[
        list[str] | None,
        typer.Option(
            "--technique",
            "-t",
            metavar="NAME[:options]",
            help="A step, such as prune-channels:ratio=0.5,layers=conv*; repeatable, done in this order.",
        ),
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(metavar="FILE.toml|PRESET", help="Take steps and options from a recipe; options given here win."),
    ] = None,
    to: given.To = None,
    calib: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Samples to measure layers on, with labels where steps train."),
    ] = None,
    evaluation: given.Eval = None,
    preprocess: given.Preprocess = None,
    metric: given.Metric = None,
    max_drop: given.MaxDrop = None,
    shape: given.Shape = None,
    bench: given.Bench = None,
    threads: given.Threads = None,
    seed: given.Seed = None,
    output: given.Output = None,
    json: given.AsJson = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
    dry_run: given.DryRun = False,
    explain: given.Explain = False,
    list_: Annotated[bool, typer.Option("--list", help="List the techniques with their options, and leave.")] = False,
    schema: Annotated[bool, typer.Option("--schema", help="Print a recipe's JSON Schema, and leave.")] = False,
) -> None:
    from edgekit import _recipe
    from edgekit.errors import UsageError
    from edgekit_converters.compress.steps import parse_step

    if list_:
        _list()
        return
    if schema:
        typer.echo(dumps(_recipe.schema(), indent=1))
        return
    if model is None:
        raise UsageError("there is no MODEL to compress: edgekit compress MODEL --technique NAME")
    options = given.read(
        recipe,
        to=to,
        calib=calib,
        evaluation=evaluation,
        preprocess=preprocess,
        metric=metric,
        max_drop=max_drop,
        shape=shape,
        bench=bench,
        threads=threads,
        seed=seed,
        precisions=("fp32",),
        compress=tuple(parse_step(text).text for text in technique or ()),
    )
    if not options.compress:
        raise UsageError("there is nothing to do: give --technique NAME or --recipe FILE.toml with [[compress]] steps")
    carry_out(model, options, output, json=json, progress=progress, dry_run=dry_run, explain=explain)


compress.__doc__ = _EXAMPLES


def _list() -> None:
    from edgekit._options import read_toml
    from edgekit._recipe import presets
    from edgekit_converters.compress import TECHNIQUES, technique_for

    for name in TECHNIQUES:
        one = technique_for(name)
        typer.echo(f"{name}: {one.help}{' (exact)' if one.exact else ''}")
        for key, option in one.options.items():
            typer.echo(f"    {key}: {option.help}; {option.takes} [{option.default_text}]")
    typer.echo("")
    for name, file in presets().items():
        typer.echo(f"--recipe {name}: {read_toml(file)['summary']}")
