"""Figures over time and side by side, from exact merges: `/api/v1/series`, `/api/v1/models`."""

from collections import defaultdict
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from edgekit.errors import UsageError
from edgekit.fleet import _clock
from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import InContext
from edgekit.fleet.api.devices import Quantiles, quantiles
from edgekit.fleet.api.filters import Filter, keys
from edgekit.fleet.api.scope import Scoped
from edgekit.fleet.store import DeviceKey, Question, SeriesPoint, Store
from edgekit_agent.protocol import ExpHistogram

router = APIRouter(tags=["figures"], prefix="/api/v1")

HOUR_MS = 3_600_000
POINTS = 2000
Stage = Literal["pre", "infer", "post", "e2e", "queue"]
Group = Literal["none", "device", "version", "hardware", "model", "version,hardware"]


class Buckets(BaseModel):
    """A histogram by the law of the wire: bucket i counts (2^(i/2^scale), 2^((i+1)/2^scale)] seconds."""

    scale: int
    offset: int
    counts: list[int]
    zeros: int


class GaugeFigures(BaseModel):
    """The mean, least and most of a gauge."""

    mean: float
    least: float
    most: float


class Point(Quantiles):
    """All reports of a group in a step of time; quantiles are of the merged histograms, never averages."""

    start_ms: int
    reports: int
    inferences: int
    errors: int
    dropped: int
    rate_hz: float | None
    gauges: Mapping[str, GaugeFigures]
    histogram: Buckets | None = None


class Line(BaseModel):
    """The points of a group; a step without reports has none."""

    group: str
    keys: Mapping[str, str]
    points: list[Point]


class SeriesAnswer(BaseModel):
    """Figures by group."""

    from_ms: int
    to_ms: int
    step_s: int
    stage: Stage
    groups: list[Line]


class ModelVersions(BaseModel):
    """A model and the versions of it that devices serve or have reported; how many devices serve each now."""

    model: str
    versions: dict[str, int]


class Models(BaseModel):
    """Models by name."""

    models: list[ModelVersions]


@router.get("/models")
def models(context: InContext, _who: Viewer, scope: Scoped) -> Models:
    """List models and their versions."""
    found: dict[str, dict[str, int]] = defaultdict(dict)
    for model, version, _artifact in context.store.series.models() if scope.text is None else ():
        found[model].setdefault(version, 0)
    for device in scope.rows(context.store.devices.all()):
        for served in device.models:
            found[served.name][served.version] = found[served.name].get(served.version, 0) + 1
    return Models(models=[ModelVersions(model=model, versions=found[model]) for model in sorted(found)])


@router.get("/series")
def series(
    context: InContext,
    _who: Viewer,
    filter: Filter,  # noqa: A002 - the query's name
    model: Annotated[str, Query(max_length=64)] = "",
    version: Annotated[str, Query(max_length=64)] = "",
    stage: Stage = "infer",
    from_ms: Annotated[int | None, Query(ge=0)] = None,
    to_ms: Annotated[int | None, Query(ge=0)] = None,
    step_s: Annotated[int, Query(ge=0, description="Whole minutes; 0 is one step over the whole time.")] = 60,
    group: Group = "none",
    site: Annotated[str, Query(max_length=64)] = "",
    device: Annotated[str, Query(max_length=64)] = "",
    histogram: bool = False,
) -> SeriesAnswer:
    """Tell latency, counts and gauges over time; the last hour, in minutes, unless asked otherwise."""
    end = to_ms if to_ms is not None else _clock.now_ms()
    begin = from_ms if from_ms is not None else end - HOUR_MS
    if step_s and (end - begin) / (1000 * step_s) > POINTS:
        raise UsageError(f"there would be more than {POINTS} steps: take a longer step")
    devices = keys(context.store, filter)
    if site and device:
        named = DeviceKey(site, device)
        devices = [named] if devices is None or named in devices else []
    asked: dict[str, Any] = {
        "from_ms": begin,
        "to_ms": end,
        "stage": stage,
        "step_s": step_s or None,
        "devices": devices,
    }
    found: list[tuple[dict[str, str], SeriesPoint]] = []
    if group == "version,hardware":
        versions = [version] if version else _versions(context.store, model)
        for one in versions:
            points = context.store.series.points(Question(**asked, model=model, version=one, group="hardware"))
            found += [({"version": one, "hardware": point.group}, point) for point in points]
    else:
        question = Question(**asked, model=model or None, version=version or None, group=group)
        found = [({group: point.group}, point) for point in context.store.series.points(question)]
    return SeriesAnswer(from_ms=begin, to_ms=end, step_s=step_s, stage=stage, groups=_lines(found, histogram=histogram))


def _versions(store: Store, model: str) -> list[str]:
    if not model:
        raise UsageError("versions side by side are those of one model: give model=")
    return sorted({version for name, version, _artifact in store.series.models() if name == model})


def _lines(found: list[tuple[dict[str, str], SeriesPoint]], *, histogram: bool) -> list[Line]:
    lines: dict[tuple[str, ...], Line] = {}
    for named, point in found:
        key = tuple(named.values())
        line = lines.setdefault(key, Line(group=" / ".join(key), keys=named, points=[]))
        line.points.append(_point(point, histogram=histogram))
    return list(lines.values())


def _point(point: SeriesPoint, *, histogram: bool) -> Point:
    return Point(
        **quantiles(point.histogram).model_dump(),
        start_ms=point.start_ms, reports=point.reports, inferences=point.inferences, errors=point.errors,
        dropped=point.dropped, rate_hz=point.inferences / point.window_s if point.window_s else None,
        gauges={
            name: GaugeFigures(mean=gauge.mean, least=gauge.least, most=gauge.most)
            for name, gauge in point.gauges.items()
        },
        histogram=_buckets(point.histogram) if histogram and point.histogram.count else None,
    )  # fmt: skip


def _buckets(histogram: ExpHistogram) -> Buckets:
    first, last = (min(histogram.counts), max(histogram.counts)) if histogram.counts else (0, -1)
    counts = [histogram.counts.get(index, 0) for index in range(first, last + 1)]
    return Buckets(scale=histogram.scale, offset=first, counts=counts, zeros=histogram.zeros)
