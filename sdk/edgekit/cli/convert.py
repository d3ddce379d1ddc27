"""`edgekit convert`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli import _conversion_options as given
from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show
from edgekit.cli._steps import blamed, print_steps

if TYPE_CHECKING:
    from edgekit._options import ConvertOptions
    from edgekit._report import ArtifactReport, Report

WIDE = 96
FIRST_VERSION = "0.1.0"

_EXAMPLES = """Convert a trained model to TFLite, OpenVINO and ONNX, measure every artifact and write a report.

Reads Keras (`.keras`, `.h5`), TensorFlow SavedModel, PyTorch (`.pt2`, TorchScript), ONNX, TFLite, OpenVINO IR, and
`package.module:factory`: a function of yours that returns a PyTorch module, a Keras model or a JAX function.

Examples:

    edgekit convert model.h5 -o build/model

    edgekit convert saved_model --precision fp32 --precision int8 --calib train.npz[0:200] --eval test.npz -o build/kws

    edgekit convert mynet:build --shape image=1x3x224x224 --to tflite

    edgekit convert net.onnx --precision int8 --calib photos --preprocess resize=240x320,mean=127,std=128,layout=nchw

DATA is a `.npz` (arrays named as the model's inputs, or `x`; labels `y`), a `.npy`, or a folder of images
(a sub-folder's name is the class) or of `.npy` files; `[0:200]` behind it takes a slice.
"""


def convert(  # noqa: D103  # its docstring is _EXAMPLES
    model: given.Model,
    to: given.To = None,
    precision: Annotated[
        list[str] | None,
        typer.Option(
            metavar="P",
            help="fp32, fp16, int8, int8-dynamic, int8-weights, int16x8, int4-weights, nf4-weights, auto, with options "
            "(int8:ranges=mse); repeatable. [default: fp32, with --calib also int8]",
        ),
    ] = None,
    calib: Annotated[
        str | None, typer.Option(metavar="DATA", help="Calibration data for int8, or 'random' (the report says so).")
    ] = None,
    evaluation: given.Eval = None,
    preprocess: given.Preprocess = None,
    metric: given.Metric = None,
    max_drop: given.MaxDrop = None,
    shape: given.Shape = None,
    constant: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME=VALUE", help="Take away an ONNX model's input: it has this value; repeatable."),
    ] = None,
    io_layout: Annotated[
        str | None,
        typer.Option(metavar="LAYOUT", help="Where the artifacts' images have their channels: keep, nhwc, nchw."),
    ] = None,
    lane: Annotated[
        str | None,
        typer.Option(metavar="L", help="How Keras and SavedModel get there: tensorflow or onnx. [default: tensorflow]"),
    ] = None,
    bench: given.Bench = None,
    threads: given.Threads = None,
    seed: given.Seed = None,
    io_dtype: Annotated[
        str | None,
        typer.Option(metavar="D", help="Inputs and outputs of static int8: float, or quantized (TFLite, ONNX)."),
    ] = None,
    float_layers: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER", help="Leave layers in float: a name, a glob, or op:SOFTMAX; repeatable."),
    ] = None,
    time_budget: Annotated[
        float | None,
        typer.Option(metavar="S", help="Seconds the search for layers to leave in float may take; run again to go on."),
    ] = None,
    bundle: Annotated[
        bool, typer.Option("--bundle", help="Also write a bundle for each artifact that passed, into DIR/bundles.")
    ] = False,
    bundle_version: Annotated[
        str | None, typer.Option(metavar="V", help=f"Semantic version of the bundles. [default: {FIRST_VERSION}]")
    ] = None,
    recipe: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.toml", help="Take options and compression steps from a recipe; options given here win."
        ),
    ] = None,
    output: given.Output = None,
    json: given.AsJson = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
    dry_run: given.DryRun = False,
    explain: given.Explain = False,
) -> None:
    from edgekit._options import parse_constant

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
        precisions=tuple(precision or ()),
        constants=dict(parse_constant(text) for text in constant or ()),
        io_layout=io_layout,
        lane=lane,
        io_dtype=io_dtype,
        float_layers=tuple(float_layers or ()),
        time_budget=time_budget,
        bundle=bundle_version or (FIRST_VERSION if bundle else None),
    )
    carry_out(model, options, output, json=json, progress=progress, dry_run=dry_run, explain=explain)


convert.__doc__ = _EXAMPLES


def carry_out(  # a command's own flags
    model: Path,
    options: "ConvertOptions",
    output: Path | None,
    *,
    json: bool,
    progress: Progress,
    dry_run: bool,
    explain: bool,
) -> None:
    """Make the artifacts, print what is known of them, and end as they ended."""
    from edgekit._convert import convert as run
    from edgekit_converters import stem_of

    folder = output or Path("build") / stem_of(model)
    if dry_run:
        _plan(model, folder, options)
        return
    with show(progress) as on_event:
        report = run(model, options, folder, on_event)
    if json:
        typer.echo(report.to_text(), nl=False)
    else:
        if report.compression:
            print_steps(report, explain=explain)
        _print(report, folder, explain=explain)
        if options.bundle:
            stdout().print(f"bundles: {folder}/bundles/", markup=False, highlight=False)
    _verdict(report)


def _plan(model: Path, folder: Path, options: "ConvertOptions") -> None:
    from edgekit_converters import check_wanted, stem_of
    from edgekit_converters.precisions import label_of

    for step in options.compress:
        typer.echo(f"{model}: {step}")
    for form, precision in check_wanted(options.wanted):
        suffix = {"tflite": "tflite", "openvino": "xml", "onnx": "onnx"}[form]
        name = f"{stem_of(model)}.{label_of(precision)}.{suffix}"
        typer.echo(f"{model} -> {folder / 'models' / name}")
        if options.bundle:
            typer.echo(f"{model} -> {folder / 'bundles' / name}.ekb ({options.bundle})")


def _print(report: "Report", folder: Path, *, explain: bool) -> None:
    from rich.table import Table

    console = stdout()
    table = Table(box=None, pad_edge=False, header_style="bold")
    wide = console.width >= WIDE
    headings = [
        "artifact", "status", "size", "accuracy", "drop", *(("max diff", "same top-1") if wide else ()),
        "p50 ms", *(("p99 ms",) if wide else ()), "speed-up",
    ]  # fmt: skip
    for heading in headings:
        table.add_column(heading, justify="left" if heading in {"artifact", "status"} else "right", no_wrap=True)
    for one in report.artifacts:
        row = _row(one)
        table.add_row(*(row[heading] for heading in headings))
    console.print(table)
    for one in report.artifacts:
        for text in (*([one.reason] if one.reason else []), *one.warnings):
            console.print(f"{one.format} {one.precision}: {text}", markup=False, highlight=False)
        for step in one.steps if explain else ():
            line = f"  {one.format} {one.precision}: {step.name} {dict(step.after)}"
            console.print(line, markup=False, highlight=False)
    for text in report.notes if explain else ():
        console.print(f"explain: {text}", markup=False, highlight=False)
    for text in report.warnings:
        console.print(f"warning: {text}", markup=False, highlight=False)
    console.print(f"written: {folder}/report.html, report.json, models/", markup=False, highlight=False)


def _row(one: "ArtifactReport") -> dict[str, str]:
    from edgekit._metrics import shown

    accuracy, agreement, latency = one.accuracy, one.agreement, one.latency
    return {
        "artifact": f"{one.format} {one.precision}",
        "status": "chosen" if one.chosen else one.status,
        "size": f"{one.size_bytes:,}" if one.size_bytes else "-",
        "accuracy": shown(accuracy.metric, accuracy.artifact) if accuracy else "-",
        "drop": shown(accuracy.metric, accuracy.drop, signed=True) if accuracy and accuracy.drop is not None else "-",
        "max diff": f"{agreement.max_abs:.2g}" if agreement else "-",
        "same top-1": f"{agreement.top1:.1%}" if agreement and agreement.top1 is not None else "-",
        "p50 ms": f"{latency.p50_ms:.3f}" if latency else "-",
        "p99 ms": f"{latency.p99_ms:.3f}" if latency else "-",
        "speed-up": f"{latency.speedup:.2f}x" if latency and latency.speedup else "-",
    }


def _verdict(report: "Report") -> None:
    """Make the exit code tell of artifacts that failed (3) or missed their gate (6)."""
    from edgekit.errors import GateError
    from edgekit_converters.errors import ConversionError

    taken = {one.format for one in report.artifacts if one.chosen}
    for status, kind in (("failed", ConversionError), ("rejected", GateError)):
        # of candidates, those that were not taken are no failure
        bad = [one for one in report.artifacts if one.status == status and one.format not in taken]
        if bad:
            error = kind(f"{bad[0].format} {bad[0].precision} {status}: {bad[0].reason}")
            for other in bad[1:]:
                error.add_note(f"{other.format} {other.precision} {status} too: {other.reason}")
            if status == "rejected":
                for advice in dict.fromkeys(filter(None, (blamed(report, one) for one in bad))):
                    error.add_note(advice)
            if status == "rejected" and any(one.search for one in bad):
                error.add_note("train with the rounding in it: edgekit.train_quantized (docs/guide/training.md)")
            raise error
