"""The steps of a compression, as a table on the terminal."""

from typing import TYPE_CHECKING

from edgekit.cli._console import stdout

if TYPE_CHECKING:
    from edgekit._report import ArtifactReport, CompressionStep, Report, StepFigures


def print_steps(report: "Report", *, explain: bool) -> None:
    """Print the model before the first step and behind each: a row a state."""
    from rich.table import Table

    console = stdout()
    first = report.compression[0].before
    table = Table(box=None, pad_edge=False, header_style="bold")
    targets = list(first.p50_ms or first.bytes)
    scored = first.accuracy is not None
    headings = ["step", "parameters", "MACs", *(("accuracy",) if scored else ())]
    headings += [
        f"{target} {what}" for target in targets for what in (("p50 ms", "speed-up") if first.p50_ms else ("bytes",))
    ]
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "step" else "right", overflow="fold")
    table.add_row(*_row("as it came", first, first, targets))
    for step in report.compression:
        table.add_row(*_row(step.text, step.after, first, targets))
    console.print(table)
    for step in report.compression if explain else ():
        for line in _explained(step):
            console.print(line, markup=False, highlight=False)
    console.print()


def blamed(report: "Report", artifact: "ArtifactReport") -> str | None:
    """Return which step lost most of what an artifact lost, and what can be done about it.

    None where no step lost anything, or what came behind the steps (its precision) lost more than any.
    """
    from edgekit._metrics import shown

    if not report.compression or artifact.accuracy is None:
        return None
    most, text = max((_drop(step.after) - _drop(step.before), step.text) for step in report.compression)
    behind = (artifact.accuracy.drop or 0.0) - _drop(report.compression[-1].after)
    if most <= max(behind, 0.0):
        return None
    return (
        f"most is lost by the step {text} ({shown(artifact.accuracy.metric, most)}): give it a weaker option, "
        "keep it to fewer layers (layers=PATTERN), or put finetune behind it"
    )


def _drop(state: "StepFigures") -> float:
    return state.accuracy.drop or 0.0 if state.accuracy else 0.0


def _row(name: str, state: "StepFigures", first: "StepFigures", targets: list[str]) -> list[str]:
    from edgekit._metrics import shown

    cells = [name, f"{state.parameters:,}", f"{state.macs:,}"]
    if first.accuracy is not None:
        cells.append(shown(state.accuracy.metric, state.accuracy.artifact) if state.accuracy else "-")
    for target in targets:
        if not first.p50_ms:
            cells.append(f"{state.bytes[target]:,}" if target in state.bytes else "-")
        elif target in state.p50_ms:
            cells += [f"{state.p50_ms[target]:.3f}", f"{first.p50_ms[target] / state.p50_ms[target]:.2f}x"]
        else:
            cells += ["-", "-"]
    return cells


def _explained(step: "CompressionStep") -> list[str]:
    figures = ", ".join(f"{key} {value}" for key, value in step.figures.items())
    proof = "its outputs are proved the same" if step.exact else "approximate"
    lines = [f"{step.text}: {proof}, {step.seconds:.1f} s{f'; {figures}' if figures else ''}"]
    for one in step.changes:
        known = ", ".join(f"{key} {_short(value)}" for key, value in one.figures.items())
        lines.append(f"  {one.layer}: {one.what}{f' ({known})' if known else ''}")
    lines += [f"  {one.layer}: left, {one.why}" for one in step.left]
    return lines


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
