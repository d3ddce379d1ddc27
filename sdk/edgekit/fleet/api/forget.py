"""Devices that are gone for good: `DELETE /api/v1/devices/{site}/{device}`."""

from fastapi import APIRouter
from pydantic import BaseModel

from edgekit.fleet import _clock
from edgekit.fleet.api.access import Operator
from edgekit.fleet.api.commands import link_of
from edgekit.fleet.api.context import InContext
from edgekit.fleet.api.devices import Part, known_device
from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.audit import Entry
from edgekit_agent.protocol import Kind, device_topic

router = APIRouter(tags=["devices"], prefix="/api/v1/devices")

RETAINED = (Kind.STATE, Kind.INFO, Kind.DESIRED, Kind.REPORTED)
"""What a broker keeps of a device."""


class Forgotten(BaseModel):
    """How many rows of each table, and which retained topics, are gone; with `dry_run` they would be."""

    rows: dict[str, int]
    topics: list[str]
    dry_run: bool


@router.delete("/{site}/{device}")
def forget(context: InContext, who: Operator, site: Part, device: Part, *, dry_run: bool = False) -> Forgotten:
    """Forget a device: all that is stored of it and all that the broker keeps of it.

    One that is online would be back at its next heartbeat, so it is not forgotten.
    """
    row = known_device(context, site, device)
    topics = [device_topic(site, device, kind) for kind in RETAINED]
    if row.presence == "online":
        raise ApiError(
            409, "online", f"device '{site}/{device}' is online", "stop its agent first: it would be back at once"
        )
    if not dry_run:
        link = link_of(context)
        for topic in topics:
            link.publish(topic, b"", retain=True)
    rows = context.store.devices.forget(row.key, dry_run=dry_run)
    if not dry_run:
        now_ms = _clock.now_ms()
        context.store.audit.add(Entry(at_ms=now_ms, who=who.name, action="forget", subject=f"{site}/{device}"))
    return Forgotten(rows=rows, topics=topics, dry_run=dry_run)
