"""Commands to devices: `/api/v1/devices/{site}/{device}/commands`."""

import uuid
from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Path
from pydantic import BaseModel, Field

from edgekit.errors import UsageError
from edgekit.fleet import _clock
from edgekit.fleet.api.access import Operator, Viewer
from edgekit.fleet.api.context import Context, InContext, Link
from edgekit.fleet.api.devices import Part, known_device
from edgekit.fleet.api.errors import ApiError, not_found
from edgekit.fleet.audit import Entry
from edgekit.fleet.store import DeviceKey
from edgekit.fleet.store.commands import CommandRow
from edgekit_agent.commands import MOST_BYTES
from edgekit_agent.protocol import Command, Kind, device_topic

router = APIRouter(tags=["commands"], prefix="/api/v1/devices/{site}/{device}/commands")

LONGEST_S = 3600.0
Number = Annotated[str, Path(pattern=r"^[A-Za-z0-9-]{1,64}$")]


class NewCommand(BaseModel):
    """What to ask of a device, and how long it is wanted."""

    op: Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,63}$")]
    args: Mapping[str, Any] = {}
    timeout_s: Annotated[float, Field(gt=0, le=LONGEST_S)] = 60.0


class Sent(BaseModel):
    """The number of a command that was sent; its answer is asked for by it."""

    id: str
    expires_ms: int


class CommandState(BaseModel):
    """A command: `sent`, `running`, then `done`, `failed`, `refused`, or `expired` where no answer came in its time."""

    id: str
    op: str
    status: str
    progress: float | None
    reason: str | None
    text: str | None
    result: Mapping[str, Any]
    who: str
    created_ms: int
    expires_ms: int
    answered_ms: int | None


@router.post("", status_code=202)
def send(context: InContext, who: Operator, site: Part, device: Part, wanted: NewCommand) -> Sent:
    """Ask something of a device; it answers when it is there."""
    key = known_device(context, site, device).key
    now_ms = _clock.now_ms()
    row = CommandRow(
        id=uuid.uuid4().hex,
        site=site,
        device=device,
        op=wanted.op,
        args=wanted.args,
        who=who.name,
        created_ms=now_ms,
        expires_ms=now_ms + int(1000 * wanted.timeout_s),
    )
    payload = Command(operation=row.op, arguments=row.args, expires_ms=row.expires_ms).to_bytes()
    if len(payload) > MOST_BYTES:
        raise UsageError(f"the command has {len(payload)} bytes, a device takes {MOST_BYTES}")
    link = link_of(context)
    # kept first: an answer may come before this is done
    context.store.commands.add(row)
    context.store.audit.add(_entry(row, key, now_ms))
    link.publish(device_topic(site, device, Kind.COMMAND, row.id), payload)
    return Sent(id=row.id, expires_ms=row.expires_ms)


@router.get("/{number}")
def answer(context: InContext, _who: Viewer, site: Part, device: Part, number: Number) -> CommandState:
    """Tell how a command stands."""
    row = context.store.commands.get(number, DeviceKey(site, device), _clock.now_ms())
    if row is None:
        raise not_found(f"command '{number}' to device '{site}/{device}'")
    return CommandState.model_validate(row, from_attributes=True)


def link_of(context: Context) -> Link:
    """Return the connection to the broker.

    Raises:
        ApiError: 503, the service runs without one.
    """
    if context.link is None:
        raise ApiError(503, "no-broker", "the service has no connection to a broker")
    return context.link


def _entry(row: CommandRow, key: DeviceKey, now_ms: int) -> Entry:
    detail = {"id": row.id, "op": row.op, "args": dict(row.args)}
    return Entry(at_ms=now_ms, who=row.who, action="command", subject=f"{key.site}/{key.device}", detail=detail)
