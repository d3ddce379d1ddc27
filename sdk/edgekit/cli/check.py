"""`edgekit check`."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from edgekit.cli._console import stdout
from edgekit.cli._progress import Progress, show

if TYPE_CHECKING:
    from collections.abc import Sequence

    from edgekit._check import CheckResult
    from edgekit._verdict import RuntimeCheck
    from edgekit_converters.compat.findings import Finding

_SHOWN = 4
_NAME_CHARACTERS = 60


def check(
    model: Annotated[Path, typer.Argument(metavar="MODEL", help="An artifact: .tflite, OpenVINO .xml, or .onnx.")],
    runtime: Annotated[
        list[str] | None,
        typer.Option(
            metavar="R",
            help="tflite-runtime==2.14.0, 'ai-edge-litert>=1.2,<3', tflite-micro, openvino, openvino-gpu, "
            "openvino-npu, onnxruntime, tflite-gpu, edgetpu; repeatable. No version: the one here, or the newest.",
        ),
    ] = None,
    target: Annotated[
        list[str] | None,
        typer.Option(metavar="T", help="A target or its .toml file, see `edgekit targets list`; repeatable."),
    ] = None,
    python: Annotated[
        list[Path] | None,
        typer.Option(metavar="PATH", help="An interpreter that has a runtime, to load the model there; repeatable."),
    ] = None,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON document on stdout.")] = False,
    progress: Annotated[Progress, typer.Option(help="How to show progress, on stderr.")] = Progress.AUTO,
) -> None:
    """Say whether a model runs on a runtime or target: every op that would fail, why, and what to do.

    Exit code 0: it runs everywhere asked; 6: it does not, or nothing can tell.

    Examples:

        edgekit check model.tflite --runtime tflite-runtime==2.14.0

        edgekit check model.xml --target intel-npu --json
    """
    from edgekit._check import check as run

    with show(progress) as on_event:
        result = run(model, runtime or (), targets=target or (), pythons=python or (), on_event=on_event)
    if json:
        import json as text

        typer.echo(text.dumps(result.to_json(), indent=2))
    else:
        _print(result)
    result.check()


def _print(result: "CheckResult") -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("runtime", "verdict", "how known"):
        table.add_column(heading)
    for one in result.runtimes:
        table.add_row(one.name, one.verdict, ", ".join(one.kinds) or "nothing known")
    stdout().print(table, markup=False)
    for one in result.runtimes:
        _print_findings(one)


def _print_findings(checked: "RuntimeCheck") -> None:
    """Print what stands in the way, alike nodes together."""
    console = stdout()
    if checked.findings:
        console.print(f"\n{checked.name}", style="bold", markup=False, highlight=False)
    alike: dict[tuple[str, ...], list[Finding]] = {}
    for one in checked.findings:
        alike.setdefault((one.op, one.types, one.status, one.reason, one.advice, one.source), []).append(one)
    for (op, types, status, reason, advice, source), found in alike.items():
        lines = [f"  {op} ({types}), {_where(found)}"] if op else []
        lines.append(f"    {status}: {reason} ({found[0].kind}: {source})")
        lines += [f"    what to do: {advice}"] if advice else []
        console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)


def _where(found: "Sequence[Finding]") -> str:
    """Name the nodes by number and output, `1/7` for one of another graph than the first."""
    named = [f"{one.graph}/{one.node}" if one.graph else f"{one.node}" for one in found]
    shown = ", ".join(f"{at} '{_short(one.output)}'" for at, one in zip(named[:_SHOWN], found, strict=False))
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return f"node{'s' if len(found) > 1 else ''} {shown}{more}"


def _short(name: str) -> str:
    """Shorten the name of a tensor: converters join the names of all layers that went into it."""
    return name if len(name) <= _NAME_CHARACTERS else f"{name[: _NAME_CHARACTERS - 1]}…"
