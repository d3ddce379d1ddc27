"""What happened: `/api/v1/events`, `/api/v1/devices/{site}/{device}/events`; newest first."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel

from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.context import InContext
from edgekit.fleet.api.devices import Part, known_device
from edgekit.fleet.api.filters import Filter, keys
from edgekit.fleet.store import EventRow

router = APIRouter(tags=["events"], prefix="/api/v1")

LEVELS = ("debug", "info", "warning", "error")
Level = Literal["", "debug", "info", "warning", "error"]
Limit = Annotated[int, Query(ge=1, le=1000)]
Since = Annotated[int, Query(ge=0)]


class Event(BaseModel):
    """Something that happened on a device; `code` is a reason code."""

    id: int
    site: str
    device: str
    ts_ms: int
    arrived_ms: int
    level: str
    code: str
    text: str
    model: str | None
    detail: Mapping[str, Any]


class Events(BaseModel):
    """Events, newest first."""

    events: list[Event]


@router.get("/events")
def list_events(
    context: InContext,
    _who: Viewer,
    filter: Filter,  # noqa: A002 - the query's name
    since_ms: Since = 0,
    level: Level = "",
    limit: Limit = 200,
) -> Events:
    """List events of the fleet; `level` is the least."""
    found = context.store.events.latest(
        devices=keys(context.store, filter), since_ms=since_ms, levels=at_least(level), limit=limit
    )
    return _told(found)


@router.get("/devices/{site}/{device}/events")
def events_of_device(
    context: InContext,
    _who: Viewer,
    site: Part,
    device: Part,
    since_ms: Since = 0,
    level: Level = "",
    limit: Limit = 200,
) -> Events:
    """List events of a device."""
    row = known_device(context, site, device)
    return _told(context.store.events.latest(devices=[row.key], since_ms=since_ms, levels=at_least(level), limit=limit))


def at_least(level: str) -> Sequence[str] | None:
    """Return a level and those above it; None for all."""
    return LEVELS[LEVELS.index(level) :] if level else None


def _told(rows: Sequence[EventRow]) -> Events:
    return Events(events=[Event.model_validate(row, from_attributes=True) for row in rows])
