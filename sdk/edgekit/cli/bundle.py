"""`edgekit bundle create|show|verify`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from edgekit._bundle import Verified
    from edgekit_agent.bundle import Bundle

app = typer.Typer(help="One file with a model and all a device needs to prove and run it.", no_args_is_help=True)

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]
_Bundle = Annotated[Path, typer.Argument(metavar="FILE", help="What `edgekit bundle create` wrote.")]
_SHOWN = 12


@app.command()
def create(
    artifact: Annotated[Path, typer.Argument(metavar="ARTIFACT", help=".tflite, .xml, .onnx or .pipeline.")],
    version: Annotated[str, typer.Option(metavar="V", help="Semantic version of this release: 1.2.0.")],
    counter: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="Release counter; devices refuse a lower one. [default: of the version: 1002000]"
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(metavar="NAME", help="The model's name. [default: of the file]")] = None,
    hardware: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Hardware it is for; repeatable. [default: any]")
    ] = None,
    runtime: Annotated[
        list[str] | None,
        typer.Option(metavar="R", help="What may run it: 'ai-edge-litert>=2.3,<3'; repeatable. [default: any]"),
    ] = None,
    device: Annotated[str, typer.Option(metavar="D", help="The runtime's device: CPU, GPU, NPU, AUTO.")] = "CPU",
    golden: Annotated[
        str | None, typer.Option(metavar="DATA", help="Golden inputs: test.npz[0:8]. [default: seeded ones]")
    ] = None,
    baseline: Annotated[
        str | None,
        typer.Option(metavar="DATA", help="Data whose inputs and answers devices see drift against. [default: none]"),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            metavar="X",
            help="What golden outputs may differ by on a device, as a share of an output's largest magnitude. "
            "[default: 0.001 of fp32, 0.01 of fp16, else 0.05]",
        ),
    ] = None,
    precision: Annotated[str | None, typer.Option(metavar="P", help="[default: what the report says]")] = None,
    preprocess: Annotated[
        str | None, typer.Option(metavar="K=V,...|FILE.toml", help="As `edgekit convert` takes it. [default: report's]")
    ] = None,
    postprocess: Annotated[
        Path | None, typer.Option(metavar="FILE.toml|json", help="How outputs become classes or boxes on the device.")
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE.txt", help="Names of classes, one a line. [default: the report's]")
    ] = None,
    max_p50_ms: Annotated[float | None, typer.Option(metavar="MS", help="Bound of the median latency.")] = None,
    max_p99_ms: Annotated[float | None, typer.Option(metavar="MS", help="Bound of the 99th percentile.")] = None,
    max_memory_mb: Annotated[int | None, typer.Option(metavar="MIB", help="Bound of the process's memory.")] = None,
    threads: Annotated[int | None, typer.Option(metavar="N", help="Of one inference. [default: the device's]")] = None,
    streams: Annotated[int | None, typer.Option(metavar="N", help="At a time. [default: the device's]")] = None,
    seed: Annotated[int, typer.Option(metavar="N", help="Seed of golden inputs that are made up.")] = 0,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: ARTIFACT.ekb beside it.")
    ] = None,
    json: _Json = False,
) -> None:
    """Write a bundle of an artifact; the same artifact and options give the same bytes.

    The artifact is run here on the golden inputs, and its outputs are what devices must give, within the tolerance.
    What the report.json of `edgekit convert` says of it goes along.

    Examples:

        edgekit bundle create build/kws/models/kws.int8.tflite --version 1.2.0 --golden test.npz[0:8] -o kws.ekb

        edgekit bundle create net.fp16.xml --version 2.0.1 --hardware intel-n100 --runtime 'openvino>=2026.4' -o net.ekb
    """
    from edgekit._bundle import bundle
    from edgekit._bundle_options import BundleOptions
    from edgekit._options import parse_preprocess, read_postprocess

    options = BundleOptions(
        version=version,
        counter=counter,
        model=name,
        hardware=tuple(hardware or ()),
        runtimes=tuple(runtime or ()),
        device=device,
        precision=precision,
        preprocess=parse_preprocess(preprocess) if preprocess else {},
        postprocess=read_postprocess(postprocess) if postprocess else {},
        labels=labels,
        golden=golden,
        baseline=baseline,
        seed=seed,
        tolerance=tolerance,
        p50_ms=max_p50_ms,
        p99_ms=max_p99_ms,
        memory_mb=max_memory_mb,
        threads=threads,
        streams=streams,
    )
    _say(bundle(artifact, options, output), json)


@app.command()
def show(bundle: _Bundle, json: _Json = False) -> None:
    """Show what a bundle says, without checking its files."""
    from edgekit._bundle import show_bundle

    _say(show_bundle(bundle), json)


@app.command()
def verify(
    bundle: _Bundle,
    run: Annotated[bool, typer.Option("--run", help="Run the golden vectors here too.")] = False,
    device: Annotated[
        str | None, typer.Option(metavar="D", help="Run them on this device of the runtime. [default: the manifest's]")
    ] = None,
    json: _Json = False,
) -> None:
    """Check every byte of a bundle, and with --run its golden vectors.

    Exit code 3 where it is damaged or not of its form, 4 where none of its runtimes is here, 6 where its outputs are
    not the golden ones.
    """
    from edgekit._bundle import verify_bundle
    from edgekit.errors import GateError

    found = verify_bundle(bundle, run=run, device=device)
    if json:
        import json as text

        typer.echo(text.dumps(found.to_json(), indent=2))
    else:
        _print_verified(found)
    if found.proof and not found.proof.passed:
        raise GateError(f"bundle '{bundle}': {found.proof.reason}")


def _say(found: "Bundle", json: bool) -> None:
    if json:
        import json as text

        from edgekit._bundle import described

        typer.echo(text.dumps(described(found), indent=2))
        return
    manifest = found.manifest
    typer.echo(f"{found.path}: {manifest}, release {manifest.counter}, {found.size_bytes:,} bytes")
    bounds = ", ".join(f"{name} {value}" for name, value in manifest.bounds.to_json().items())
    for what, words in (
        ("precision", manifest.precision or "not told"),
        ("hardware", ", ".join(manifest.hardware) or "any"),
        ("runtimes", ", ".join(f"{one.name}{one.versions}" for one in manifest.runtimes)),
        ("inputs", ", ".join(f"{one.name} {one.dtype}{list(one.shape)}" for one in manifest.inputs)),
        ("outputs", ", ".join(f"{one.name} {one.dtype}{list(one.shape)}" for one in manifest.outputs)),
        ("golden", f"{manifest.golden.inputs[0].shape[0]} runs made with {manifest.golden.made_with}"),
        ("tolerance", ", ".join(f"{name} {value:g}" for name, value in manifest.golden.tolerance.items())),
        ("bounds", bounds or "none"),
    ):
        typer.echo(f"  {what:10} {words}")
    for one in manifest.files:
        typer.echo(f"  {one.name:24} {one.role:9} {one.size:>12,} bytes  {one.sha256[:_SHOWN]}")


def _print_verified(found: "Verified") -> None:
    manifest = found.bundle.manifest
    typer.echo(f"{found.bundle.path}: {manifest}: {len(manifest.files)} files as the manifest says")
    if found.proof is None:
        return
    for one in found.proof.differences:
        worst = "no number" if one.worst is None else f"{one.worst:.4g}"
        typer.echo(f"  output {one.output}: differs by {worst}, {one.allowed:.4g} is allowed")
    if found.proof.passed:
        where = f"{found.proof.runtime} on {', '.join(found.proof.executed_on)}"
        typer.echo(f"  {found.proof.runs} golden runs passed, {where}")
