"""Charts with two axes: all candidates with their Pareto front, and the search for the layers to leave in float."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from edgekit._charts import Scale, from_zero_or_log, linear, pareto_front, tick_texts, with_outliers
from edgekit._charts_labels import FONT, Box, place_labels, shorten, text_width, written_ticks
from edgekit._report_words import Document, Judged, Metric, agreement_text, is_slower, name_of, size_text, time_text

WIDTHS = (960, 380)
"""Each plane is drawn for a desk and for a phone, in pixels: letters keep their size."""

_ROOM = 0.13  # above and below the points, for their labels
_LEAST_RADIUS, _RADII = 5.0, 9.0
_RING = 6.0
_NEAR = 12.0  # from here on a label has a line to its point
_SHAPES = {"tflite": "circle", "openvino": "square", "onnx": "diamond"}


def shape_of(model_format: str) -> str:
    """Return what a format is drawn as: colour alone would not do."""
    return _SHAPES.get(model_format, "triangle")


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A candidate or trial as given: what it costs and what it is worth, in the axes' units."""

    x: float
    y: float
    text: str
    said: str
    size: float = 0.0
    format: str = ""
    states: tuple[str, ...] = ()
    rank: int = 0
    """The lower, the sooner its label is placed."""

    @property
    def ringed(self) -> bool:
        """Whether it is the one to take or the one found."""
        return bool({"chosen", "found"} & set(self.states))


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark:
    """A point as drawn, in pixels; `label` is where its words stand, `leader` where the line to them ends."""

    x: float
    y: float
    radius: float
    point: Point
    label: Box | None
    leader: tuple[float, float] | None
    off: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Across:
    """A line across the plot at `y`, with what it says in `words`; `kind` is source or gate."""

    kind: str
    y: float
    said: str
    words: Box


@dataclass(frozen=True, slots=True, kw_only=True)
class Plane:
    """A drawing in pixels; `plot` is (left, top, right, bottom) of what the axes frame."""

    title: str
    width: int
    height: int
    plot: tuple[float, float, float, float]
    x_ticks: tuple[tuple[float, str], ...]
    y_ticks: tuple[tuple[float, str], ...]
    x_title: str
    y_title: str
    marks: tuple[Mark, ...]
    front: str
    below: str
    lines: tuple[Across, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Axis:
    """One axis: `lines` are (kind, value, words) across the plot, `names` values that have a name instead of a figure.

    `flipped` puts the smallest on top; `whole` has ticks at whole numbers only.
    """

    scale: Scale
    title: str
    lines: Sequence[tuple[str, float, str]] = ()
    names: Sequence[tuple[float, str]] = ()
    flipped: bool = False
    whole: bool = False


def candidates_planes(document: Document) -> tuple[Plane, ...]:
    """Return all candidates, cost against worth, drawn for each width; nothing for fewer than two."""
    artifacts = [one for one in document["artifacts"] if one["size_bytes"]]
    timed = [one for one in artifacts if one["latency"]]
    by_latency = bool(timed) and len(timed) >= len(artifacts) / 2
    shown = timed if by_latency else artifacts
    judged = Judged.of(document)
    values, worth = _by_accuracy(shown, judged) if judged.by_labels else _by_agreement(shown)
    largest = max((one["size_bytes"] for one in shown), default=1)
    points = [
        _candidate(one, value, one["latency"]["p50_ms"] if by_latency else one["size_bytes"] / 1024, largest)
        for one, value in zip(shown, values, strict=True)
        if value is not None
    ]
    if len(points) < 2:  # noqa: PLR2004  # one candidate is no choice
        return ()
    scale = from_zero_or_log([point.x for point in points])
    title = ("p50 latency, ms" if by_latency else "size, KiB") + (" (logarithmic)" if scale.log else "")
    cost = _Axis(scale=scale, title=title)
    return tuple(_drawn("All candidates", points, cost, worth, width, front=True) for width in WIDTHS)


def _by_accuracy(artifacts: Sequence[Document], judged: Judged) -> tuple[list[float | None], _Axis]:
    factor = judged.metric.factor
    found = [one["accuracy"] and one["accuracy"]["artifact"] for one in artifacts]
    values = [None if value is None else factor * value for value in found]
    pairs = zip(artifacts, values, strict=True)
    core = [value for one, value in pairs if one["status"] == "ok" and value is not None]
    core += [value for _, value, _ in judged.lines()]
    scale = with_outliers(core, [value for value in values if value is not None], least=judged.least_span, pad=_ROOM)
    axis = _Axis(scale=scale, title=judged.axis, lines=judged.lines(), flipped=not judged.metric.higher_is_better)
    return values, axis


def _by_agreement(artifacts: Sequence[Document]) -> tuple[list[float | None], _Axis]:
    """Signal to noise against the source; an exact artifact is drawn above all others."""
    found = [one["agreement"] for one in artifacts]
    finite = [one["snr_db"] for one in found if one and one["snr_db"] is not None and one["max_abs"] != 0]
    low, high = min(finite, default=0.0), max(finite, default=0.0)
    top = high + 0.15 * ((high - low) or 10.0)
    values = [None if not one else top if one["max_abs"] == 0 else one["snr_db"] for one in found]
    names = ((top, "exact"),) if top in values else ()
    scale = linear([value for value in values if value is not None], pad=_ROOM)
    return values, _Axis(scale=scale, title="signal to noise against the source, dB", names=names)


def _candidate(artifact: Document, worth: float, cost: float, largest: int) -> Point:
    latency, accuracy, agreement = artifact["latency"], artifact["accuracy"], artifact["agreement"]
    slower = is_slower(artifact)
    said = [size_text(artifact["size_bytes"])]
    said += [f"p50 {time_text(latency['p50_ms'])}"] if latency else []
    said += [f"{accuracy['metric']} {Metric.of(accuracy).text(accuracy['artifact'])}"] if accuracy else []
    said += [f"signal to noise {agreement_text(agreement)}"] if agreement and not accuracy else []
    flags = [("chosen", artifact["chosen"]), ("rejected", artifact["status"] == "rejected"), ("slower", slower)]
    states = tuple(flag for flag, holds in flags if holds)
    warned = [*(["rejected"] if "rejected" in states else []), *(["slower than float"] if slower else [])]
    return Point(
        x=cost,
        y=worth,
        text=f"{shorten(artifact['precision'], 26)}{' ▲' if slower else ''}",
        said=f"{name_of(artifact)}: {', '.join(said + warned)}",
        size=artifact["size_bytes"] / largest,
        format=artifact["format"],
        states=states,
        rank=0 if artifact["chosen"] else 2 if warned else 1,
    )


def search_planes(artifact: Document, document: Document) -> tuple[Plane, ...]:
    """Return an artifact's search, score against the number of layers in float, drawn for each width.

    Nothing for fewer than two trials with a score: that was no search.
    """
    trials = artifact["search"]["trials"]
    judged = Judged.of(document)
    found = found_trial(trials)
    points = [
        _trial(number, one, judged.metric, artifact["format"], found=one is found)
        for number, one in enumerate(trials, 1)
        if one["score"] is not None
    ]
    if len(points) < 2:  # noqa: PLR2004
        return ()
    core = [*(value for _, value, _ in judged.lines()), *(p.y for p in points if "missed" not in p.states)]
    most = max(4.0, *(point.x for point in points))
    layers = Scale(low=-0.04 * most, high=1.04 * most)
    across = _Axis(scale=layers, title="layers left in float", whole=True)
    up = _Axis(
        scale=with_outliers(core, [point.y for point in points], least=judged.least_span, pad=_ROOM),
        title=judged.axis,
        lines=judged.lines(),
        flipped=not judged.metric.higher_is_better,
    )
    title = f"Search of {name_of(artifact)}"
    return tuple(_drawn(title, points, across, up, width, front=False) for width in WIDTHS)


def _trial(number: int, trial: Document, metric: Metric, model_format: str, *, found: bool) -> Point:
    layers = len(trial["float_layers"])
    state = "passed" if trial["passed"] else "missed"
    said = [f"trial {number}: {layers} layers in float", metric.text(trial["score"]), state, trial["why"]]
    return Point(
        x=float(layers),
        y=metric.factor * trial["score"],
        text=f"{number}{' (found)' if found else ''}",
        format=model_format,
        said=", ".join(filter(None, said)),
        states=(state, *(["found"] if found else [])),
        rank=0 if found else 1,
    )


def found_trial(trials: Sequence[Document]) -> Document | None:
    """Return the trial a search ends with: of those that passed the one with the fewest layers in float."""
    passed = [one for one in trials if one["passed"]]
    return min(passed, key=lambda one: (len(one["float_layers"]), one["drop"] or 0.0), default=None)


class _Frame:
    """The plot's rectangle in pixels and the way from values to it."""

    def __init__(self, across: _Axis, up: _Axis, left: float, width: float, height: float) -> None:
        self.left, self.top, self.right, self.bottom = left, 26.0, width - 16.0, height - 46.0
        self._across, self._up = across, up

    def x(self, value: float) -> float:
        share = self._across.scale.at(value) / 100
        return round(self.left + share * (self.right - self.left), 1)

    def y(self, value: float) -> float:
        share = self._up.scale.at(value) / 100
        share = 1 - share if self._up.flipped else share
        return round(self.bottom - share * (self.bottom - self.top), 1)

    def off(self, value: float) -> int:
        """Return 1 for a value below the plot, -1 above, 0 within."""
        scale = self._up.scale
        if scale.holds(value):
            return 0
        return 1 if (value < scale.low) != self._up.flipped else -1


def _drawn(title: str, points: Sequence[Point], across: _Axis, up: _Axis, width: int, *, front: bool) -> Plane:  # noqa: PLR0913  # what a drawing is made of
    """Return points and axes in pixels."""
    wide = width == WIDTHS[0]
    height = 420 if wide else 340
    y_ticks = [tick for tick in up.scale.ticks(6) if all(tick < top for top, _ in up.names)]
    y_words = [*zip(y_ticks, tick_texts(y_ticks), strict=True), *up.names]
    frame = _Frame(across, up, 14 + max((text_width(text) for _, text in y_words), default=0.0), width, height)
    x_words = written_ticks(across.scale, 8 if wide else 5, frame.right - frame.left)
    corners = [(frame.x(point.x), frame.y(point.y)) for point in _front(points, up)] if front else []
    stairs = _stairs(corners)
    lines = tuple(_across(kind, said, frame.y(value), frame, points) for kind, value, said in up.lines)
    return Plane(
        title=title,
        width=width,
        height=height,
        plot=(frame.left, frame.top, frame.right, frame.bottom),
        x_ticks=tuple((frame.x(tick), text) for tick, text in x_words if not across.whole or tick == int(tick)),
        y_ticks=tuple((frame.y(tick), text) for tick, text in y_words),
        x_title=across.title,
        y_title=up.title,
        marks=_marks(points, frame, lines),
        front=stairs,
        below=f"{stairs}H{frame.right:g}V{frame.bottom:g}H{corners[0][0]:g}Z" if corners else "",
        lines=lines,
    )


def _across(kind: str, said: str, y: float, frame: _Frame, points: Sequence[Point]) -> Across:
    """Return a line with its words at the end where fewer points are; the source's stand above, the gate's below."""
    width, height = text_width(said, FONT - 1), FONT + 3
    top = y + 2 if kind == "gate" else y - height - 2
    ends = [Box(left, top, width, height) for left in (frame.right - width, frame.left + 4)]
    reach = _LEAST_RADIUS + _RADII
    spots = [Box(frame.x(p.x) - reach, frame.y(p.y) - reach, 2 * reach, 2 * reach) for p in points]
    words = min(ends, key=lambda end: sum(end.overlap(spot) > 0 for spot in spots))
    return Across(kind=kind, y=y, said=said, words=words)


def _front(points: Sequence[Point], up: _Axis) -> list[Point]:
    """Return the points none other beats, of those that were not rejected."""
    sign = -1 if up.flipped else 1
    standing = [point for point in points if "rejected" not in point.states]
    return [standing[at] for at in pareto_front([(point.x, sign * point.y) for point in standing])]


def _stairs(corners: Sequence[tuple[float, float]]) -> str:
    """Return the line below which everything is beaten: across to the next corner, then up."""
    if not corners:
        return ""
    steps = "".join(f"H{x:g}V{y:g}" for x, y in corners[1:])
    return f"M{corners[0][0]:g} {corners[0][1]:g}{steps}"


def _marks(points: Sequence[Point], frame: _Frame, lines: Sequence[Across]) -> tuple[Mark, ...]:
    """Return the points in pixels with their labels, the largest first so that the small stay in sight."""
    ordered = sorted(points, key=lambda point: point.rank)
    circles = [
        (frame.x(point.x), frame.y(point.y), round(_LEAST_RADIUS + _RADII * point.size**0.5, 1)) for point in ordered
    ]
    ringed = [
        (x, y, radius + (_RING if point.ringed else 0.0))
        for (x, y, radius), point in zip(circles, ordered, strict=True)
    ]
    area = Box(frame.left, frame.top, frame.right - frame.left, frame.bottom - frame.top)
    across = [Box(area.x, line.y - 0.5, area.width, 1.0) for line in lines]
    labels = place_labels(ringed, [point.text for point in ordered], area, [*across, *(line.words for line in lines)])
    marks = [
        Mark(
            x=x,
            y=y,
            radius=radius,
            point=point,
            label=label,
            leader=_leader(x, y, radius, label),
            off=frame.off(point.y),
        )
        for (x, y, radius), point, label in zip(circles, ordered, labels, strict=True)
    ]
    return tuple(sorted(marks, key=lambda mark: -mark.radius))


def _leader(x: float, y: float, radius: float, label: Box | None) -> tuple[float, float] | None:
    """Return where the line from a point to its words ends; None where the words are beside it."""
    if label is None:
        return None
    end = min(max(x, label.x), label.x + label.width), min(max(y, label.y), label.y + label.height)
    return end if math.dist((x, y), end) > radius + _NEAR else None
