"""Charts with a row an artifact or a layer: accuracy and interval, latency distribution, size, damage."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

from edgekit._charts import Scale, from_zero_or_log, linear, outline, with_outliers
from edgekit._charts_labels import shorten, written_ticks
from edgekit._report_words import (
    FLOAT,
    Document,
    Judged,
    Metric,
    base_of,
    is_slower,
    name_of,
    share_text,
    size_text,
    smaller_text,
    speed_text,
    time_text,
)

SHOWN_LAYERS = 25
LISTED_LAYERS = 300
_TICKS = 5
_NARROWEST = 300  # pixels of an axis on a phone


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """A value all rows are held against; `kind` is source, gate or base."""

    kind: str
    place: float
    said: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row: what is drawn at which place (percent of the axis), and what is written beside it.

    `off` is -1 or 1 where the value is left or right of the axis; `marks` are the places a chart draws by name.
    """

    name: str
    value: str
    said: str
    kind: str = ""
    notes: tuple[str, ...] = ()
    flags: tuple[str, ...] = ()
    off: int = 0
    marks: dict[str, float] | None = None
    outline: str = ""
    lines: tuple[Line, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Group:
    """Rows of one format under a heading, which may be empty."""

    format: str
    heading: str
    rows: tuple[Row, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RowChart:
    """Rows in groups over one axis; `ticks` are (place, text)."""

    title: str
    axis: str
    ticks: tuple[tuple[float, str], ...]
    groups: tuple[Group, ...]
    legend: tuple[Line, ...] = ()

    def has(self, mark: str) -> bool:
        """Return whether any row draws this mark."""
        return any(mark in (row.marks or {}) for group in self.groups for row in group.rows)


def accuracy_chart(document: Document) -> RowChart | None:
    """Return every judged artifact's accuracy and interval, with the source's value and the gate; None without any."""
    judged = Judged.of(document)
    rows = [one for one in document["artifacts"] if one["accuracy"] and one["accuracy"]["artifact"] is not None]
    if not rows:
        return None
    metric = judged.metric
    passing = [value for one in rows if one["status"] == "ok" for value in _whisker(one, metric)]
    others = [value for one in rows for value in _whisker(one, metric)]
    core = [*(value for _, value, _ in judged.lines()), *passing]
    scale = with_outliers(core, others, least=judged.least_span)
    legend = tuple(Line(kind=kind, place=scale.at(value), said=said) for kind, value, said in judged.lines())
    better = "higher" if metric.higher_is_better else "lower"
    samples = max(one["accuracy"]["samples"] for one in rows)
    return RowChart(
        title="Accuracy",
        axis=f"{judged.axis} on {samples:,} samples; {better} is better",
        ticks=_ticks(scale),
        groups=_grouped(rows, lambda one: _accuracy_row(one, metric, scale, legend)),
        legend=legend,
    )


def _whisker(artifact: Document, metric: Metric) -> list[float]:
    accuracy = artifact["accuracy"]
    return [metric.factor * value for value in (accuracy["artifact"], *accuracy["ci95"]) if value is not None]


def _accuracy_row(artifact: Document, metric: Metric, scale: Scale, lines: tuple[Line, ...]) -> Row:
    accuracy = artifact["accuracy"]
    value, low, high = (
        _whisker(artifact, metric) if None not in accuracy["ci95"] else [_whisker(artifact, metric)[0]] * 3
    )
    notes = (metric.against_source(accuracy["drop"]), metric.drop_span(accuracy))
    return Row(
        name=artifact["precision"],
        value=metric.text(accuracy["artifact"]),
        said=f"{name_of(artifact)}: {metric.text(accuracy['artifact'])}, 95 % interval {metric.span(accuracy['ci95'])}",
        notes=tuple(filter(None, notes)),
        flags=_flags(artifact),
        off=0 if scale.holds(value) else -1 if value < scale.low else 1,
        marks={"value": scale.at(value), "low": scale.at(low), "high": scale.at(high)},
        lines=lines,
    )


def latency_chart(document: Document) -> RowChart | None:
    """Return every timed artifact's latency distribution beside its float form's p50; None where none was timed."""
    rows = [one for one in document["artifacts"] if one["latency"]]
    if not rows:
        return None
    values = [value for one in rows for value in _latencies(one["latency"])]
    scale = from_zero_or_log(values)
    threads = sorted({one["latency"]["threads"] for one in rows})
    said = f"{', '.join(map(str, threads))} thread{'s' if threads != [1] else ''}"
    return RowChart(
        title="Latency",
        axis=f"ms an inference, {said}{', logarithmic axis' if scale.log else ''}; lower is better",
        ticks=_ticks(scale),
        groups=_grouped(rows, lambda one: _latency_row(one, scale), heading=_runtime),
        legend=(Line(kind="base", place=0.0, said="p50 of the float model on the same runtime"),),
    )


def _latencies(latency: Document) -> list[float]:
    quantiles = latency["quantiles_ms"]
    ends = (quantiles[1], quantiles[-2]) if _drawable(quantiles) else ()
    known = (*ends, latency["p50_ms"], latency["p99_ms"], latency["source_p50_ms"])
    return [value for value in known if value]


def _drawable(quantiles: Sequence[float | None]) -> bool:
    return len(quantiles) == 101 and None not in quantiles and min(filter(None, quantiles), default=0) > 0  # noqa: PLR2004


def _runtime(artifact: Document) -> str:
    latency = artifact["latency"]
    kind = "" if latency["kind"] == "measured" else f", {latency['kind']}"
    said = f"{latency['runtime']} {latency['runtime_version']}, {latency['device']}, {latency['runs']} runs{kind}"
    return f"{artifact['format']} · {said}"


def _latency_row(artifact: Document, scale: Scale) -> Row:
    latency = artifact["latency"]
    marks = {name: scale.at(latency[f"{name}_ms"]) for name in ("p50", "p90", "p99")}
    quantiles = latency["quantiles_ms"]
    shape = ""
    if _drawable(quantiles):
        shape = _mirrored(outline(quantiles, scale))
        marks["least"] = scale.at(quantiles[1])
    base = latency["source_p50_ms"]
    tail = f"p90 {time_text(latency['p90_ms'])}, p99 {time_text(latency['p99_ms'])}"
    speed = speed_text(latency["speedup"]) if latency["speedup"] and artifact["precision"] != FLOAT else ""
    return Row(
        name=artifact["precision"],
        value=time_text(latency["p50_ms"]),
        said=f"{name_of(artifact)}: p50 {time_text(latency['p50_ms'])}, {tail}{speed and f', {speed}'}",
        notes=(speed or tail, *([tail] if speed else [])),
        flags=_flags(artifact),
        marks=marks,
        outline=shape,
        lines=(Line(kind="base", place=scale.at(base), said=""),) if base else (),
    )


def _mirrored(shape: Sequence[tuple[float, float]]) -> str:
    """Return a density as a closed path around the middle of a row, in a box 100 wide and 100 high."""
    upper = [f"{x:g} {50 - 50 * height:.1f}" for x, height in shape]
    lower = [f"{x:g} {50 + 50 * height:.1f}" for x, height in reversed(shape)]
    return f"M{'L'.join(upper + lower)}Z"


def size_chart(document: Document) -> RowChart | None:
    """Return every artifact's file size with the weights' share, and its memory; None where nothing was made."""
    rows = [one for one in document["artifacts"] if one["size_bytes"]]
    if not rows:
        return None
    largest = max(one["size_bytes"] for one in rows)
    unit, word = next(((1 << power, name) for power, name in _UNITS if largest >= 1 << power), (1, "bytes"))
    scale = linear([one["size_bytes"] / unit for one in rows], zero=True)
    return RowChart(
        title="Size and memory",
        axis=f"{word} on disk; lower is better",
        ticks=_ticks(scale),
        groups=_grouped(rows, lambda one: _size_row(one, base_of(one, document["artifacts"]), scale, unit)),
    )


_UNITS = ((30, "GiB"), (20, "MiB"), (10, "KiB"))


def _size_row(artifact: Document, base: Document | None, scale: Scale, unit: int) -> Row:
    size, weights, memory = artifact["size_bytes"], artifact["weights_bytes"], artifact["memory"]
    notes = [] if base is None or base is artifact else [smaller_text(base["size_bytes"], size)]
    parts = (("weights", weights), ("arena", memory["arena_bytes"]))
    notes.append(", ".join(f"{part} {size_text(held)}" for part, held in parts if held is not None))
    marks = {"file": scale.at(size / unit)} | ({} if weights is None else {"weights": scale.at(weights / unit)})
    return Row(
        name=artifact["precision"],
        value=size_text(size),
        said=f"{name_of(artifact)}: {', '.join(filter(None, [size_text(size), *notes]))}",
        notes=tuple(filter(None, notes)),
        flags=_flags(artifact),
        marks=marks,
    )


def damage_chart(artifact: Document) -> RowChart | None:
    """Return the layers of an artifact with the most damage first; None where they were not looked at."""
    layers = by_damage(artifact)
    if not layers:
        return None
    scale = linear([100 * (one["damage"] or 0.0) for one in layers], zero=True)
    rows = tuple(_layer_row(one, scale) for one in layers[:SHOWN_LAYERS])
    return RowChart(
        title=name_of(artifact),
        axis="error at the outputs that quantizing this layer alone causes, % of their RMS",
        ticks=_ticks(scale),
        groups=(Group(format=artifact["format"], heading="", rows=rows),),
    )


def by_damage(artifact: Document) -> list[Document]:
    """Return the layers of an artifact, the most damage first."""
    return sorted(artifact["layers"], key=lambda one: -(one["damage"] or 0.0))


def _layer_row(layer: Document, scale: Scale) -> Row:
    damage, own = layer["damage"], layer["own_error"]
    kept = ", kept in float" if layer["kept_float"] else ""
    return Row(
        name=layer["name"],
        value=share_text(damage),
        said=f"{layer['name']} ({layer['op']}): damage {share_text(damage)}{kept}",
        kind=shorten(layer["op"], 24),
        notes=() if own is None else (f"own {share_text(own)}",),
        flags=("in float",) if layer["kept_float"] else (),
        marks={"damage": scale.at(100 * (damage or 0.0))} | ({"kept": 1.0} if layer["kept_float"] else {}),
    )


def _flags(artifact: Document) -> tuple[str, ...]:
    flags = [("to take", artifact["chosen"]), ("rejected", artifact["status"] == "rejected")]
    flags += [("failed", artifact["status"] == "failed"), ("slower than float", is_slower(artifact))]
    return tuple(flag for flag, holds in flags if holds)


def _grouped(
    artifacts: Iterable[Document], row: Callable[[Document], Row], heading: Callable[[Document], str] | None = None
) -> tuple[Group, ...]:
    """Return rows under their format's heading, formats and artifacts in the order they were asked for."""
    known = list(artifacts)
    formats = list(dict.fromkeys(one["format"] for one in known))
    ordered = sorted(known, key=lambda one: formats.index(one["format"]))
    groups = [list(group) for _, group in groupby(ordered, key=lambda one: one["format"])]
    return tuple(
        Group(
            format=group[0]["format"],
            heading=heading(group[0]) if heading else group[0]["format"],
            rows=tuple(row(one) for one in group),
        )
        for group in groups
    )


def _ticks(scale: Scale) -> tuple[tuple[float, str], ...]:
    return tuple((scale.at(tick), text) for tick, text in written_ticks(scale, _TICKS, _NARROWEST))
