"""`edgekit pack` and `edgekit unpack`."""

from pathlib import Path
from typing import Annotated

import typer

_Json = Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")]


def pack(
    artifact: Annotated[
        Path, typer.Argument(metavar="ARTIFACT", help="A file; with an OpenVINO .xml its .bin goes along.")
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Default: ARTIFACT.ekpk beside it.")
    ] = None,
    json: _Json = False,
) -> None:
    """Pack an artifact for transport without loss, and say what that saves.

    Weights that share few values, are on a coarse grid or are pruned take far less; gzip and xz on the same bytes are
    printed beside. A device unpacks it with `edgekit_agent.packing`.

    Examples:

        edgekit pack models/kws.int8.tflite

        edgekit pack models/kws.fp16.xml -o kws.ekpk
    """
    from edgekit._pack import pack as run

    packed = run(artifact, output)
    if json:
        import json as text

        typer.echo(text.dumps(packed.to_json(), indent=2))
        return
    typer.echo(f"{packed.path}: {' and '.join(packed.files)}")
    for what, size in (
        ("at rest", packed.at_rest_bytes),
        ("packed", packed.packed_bytes),
        ("gzip -9", packed.gzip_bytes),
        ("xz -9", packed.xz_bytes),
    ):
        typer.echo(f"  {what:8}{size:>14,} bytes{size / max(packed.at_rest_bytes, 1):>8.1%}")


def unpack(
    packed: Annotated[Path, typer.Argument(metavar="FILE", help="What `edgekit pack` wrote.")],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="DIR", help="Default: the folder the file is in.")
    ] = None,
    json: _Json = False,
) -> None:
    """Unpack what `edgekit pack` wrote: every file byte for byte as it was.

    Exit code 3 where the file is truncated, damaged, or says it holds more than it may.

    Examples:

        edgekit unpack kws.ekpk -o models
    """
    from edgekit._pack import unpack as run

    paths = run(packed, output)
    if json:
        import json as text

        typer.echo(text.dumps({"schema": 1, "files": [str(path) for path in paths]}, indent=2))
        return
    for path in paths:
        typer.echo(f"{path}")
