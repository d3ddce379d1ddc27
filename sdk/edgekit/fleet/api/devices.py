"""Devices as they are now: `/api/v1/devices`, `/api/v1/devices/{site}/{device}`."""

import json
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel

from edgekit.fleet import _clock
from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import Context, InContext
from edgekit.fleet.api.errors import not_found
from edgekit.fleet.api.filters import Filter, compiled
from edgekit.fleet.store import DeviceKey, DeviceRow, ReportRow, hardware_name
from edgekit_agent.protocol import ExpHistogram

router = APIRouter(tags=["devices"], prefix="/api/v1/devices")

PAGE = 1000
Part = Annotated[str, Path(pattern=r"^[a-z0-9-]{3,64}$")]
# How far back the newest reports of a device are looked for.
LOOKED_BACK = 200


class Served(BaseModel):
    """A model that a device serves."""

    name: str
    version: str
    artifact: str
    runtime: str
    seen_ms: int


class Device(BaseModel):
    """A device; `last_seen_ms` is when anything of it came last."""

    site: str
    device: str
    presence: str
    reason: str
    presence_since_ms: int
    first_seen_ms: int
    last_seen_ms: int
    last_report_ms: int | None
    agent: str | None
    boot: str | None
    heartbeat_s: float | None
    labels: Mapping[str, str]
    hardware: Mapping[str, Any]
    hardware_name: str
    models: list[Served]


class Devices(BaseModel):
    """A page of devices; `next` is the cursor of the page after it, null on the last."""

    devices: list[Device]
    next: str | None
    total: int
    now_ms: int


class Quantiles(BaseModel):
    """What a histogram says, in milliseconds."""

    count: int
    p50_ms: float | None = None
    p90_ms: float | None = None
    p99_ms: float | None = None
    max_ms: float | None = None


class Latest(BaseModel):
    """The newest report of a model."""

    model: str
    version: str
    runtime: str
    at_ms: int
    window_s: float
    inferences: int
    errors: int
    dropped: int
    latency: Mapping[str, Quantiles]
    gauges: Mapping[str, float]


class DeviceDetail(Device):
    """A device with what it says of itself and its newest reports."""

    info: Any = None
    reported: Any = None
    latest: list[Latest]
    now_ms: int


@router.get("")
def list_devices(
    context: InContext,
    _who: Viewer,
    filter: Filter,  # noqa: A002 - the query's name
    limit: Annotated[int, Query(ge=1, le=10_000)] = PAGE,
    cursor: Annotated[str, Query(max_length=200)] = "",
) -> Devices:
    """List devices by site and name."""
    match = compiled(filter)
    found = [row for row in context.store.devices.all() if match is None or match(row)]
    after = tuple(cursor.split("/", 1)) if cursor else ("", "")
    left = [row for row in found if (row.site, row.device) > after]
    page = left[:limit]
    following = f"{page[-1].site}/{page[-1].device}" if len(left) > limit else None
    return Devices(
        devices=[Device(**_fields(row)) for row in page], next=following, total=len(found), now_ms=_clock.now_ms()
    )


@router.get("/{site}/{device}")
def one_device(context: InContext, _who: Viewer, site: Part, device: Part) -> DeviceDetail:
    """Tell all about a device."""
    row = known_device(context, site, device)
    now_ms = _clock.now_ms()
    reports = context.store.reports.of_device(row.key, 0, now_ms + 86_400_000, LOOKED_BACK)
    newest = {report.model: report for report in reports}
    return DeviceDetail(
        **_fields(row), info=row.described or None, reported=json.loads(row.reported) if row.reported else None,
        latest=[_latest(newest[model]) for model in sorted(newest)], now_ms=now_ms,
    )  # fmt: skip


def known_device(context: Context, site: str, device: str) -> DeviceRow:
    """Return a device.

    Raises:
        ApiError: 404, it is not known.
    """
    row = context.store.devices.get(DeviceKey(site, device))
    if row is None:
        raise not_found(f"device '{site}/{device}'")
    return row


def quantiles(histogram: ExpHistogram) -> Quantiles:
    """Return what a histogram says."""
    if not histogram.count:
        return Quantiles(count=0)
    p50, p90, p99 = (round(1000 * histogram.quantile(q), 6) for q in (0.5, 0.9, 0.99))
    return Quantiles(
        count=histogram.count, p50_ms=p50, p90_ms=p90, p99_ms=p99, max_ms=round(1000 * histogram.maximum, 6)
    )


def _latest(report: ReportRow) -> Latest:
    return Latest(
        model=report.model, version=report.version, runtime=report.runtime, at_ms=report.at_ms,
        window_s=report.window_s, inferences=report.inferences, errors=report.errors, dropped=report.dropped,
        latency={stage: quantiles(histogram) for stage, histogram in report.latency.items()}, gauges=report.gauges,
    )  # fmt: skip


def _fields(row: DeviceRow) -> dict[str, Any]:
    same = ("site", "device", "presence", "presence_since_ms", "first_seen_ms", "last_report_ms", "agent", "boot")
    return {
        **{name: getattr(row, name) for name in same},
        "heartbeat_s": row.heartbeat_s,
        "reason": row.presence_reason,
        "last_seen_ms": max(row.last_seen_ms, row.last_report_ms or 0),
        "labels": row.labels,
        "hardware": row.hardware,
        "hardware_name": hardware_name(dict(row.hardware)),
        "models": [Served.model_validate(one, from_attributes=True) for one in row.models],
    }
