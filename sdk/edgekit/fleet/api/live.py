"""`GET /api/v1/live`: server-sent events with what changed, a client at its own speed.

`hello` (columns; `fresh` when the client must forget what it has), `rows` (rows that changed and ids that left),
`events`, `beat` every five seconds, `bye` when the session is over.
"""

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.types import Receive, Scope, Send

from edgekit.fleet import _clock
from edgekit.fleet.api.access import Viewer
from edgekit.fleet.api.board import COLUMNS, Board
from edgekit.fleet.api.context import Context, InContext
from edgekit.fleet.api.errors import ApiError
from edgekit.fleet.api.feeder import Feeder
from edgekit.fleet.api.filters import Filter, Match, compiled
from edgekit.fleet.api.scope import Scoped
from edgekit.fleet.store import EventRow

router = APIRouter(tags=["live"])

BEAT_S = 5.0
# Who takes no data for so long is let go; a browser comes back by itself.
SLOW_S = 30.0
STREAMS = 200
RECHECK_S = 15.0
CHUNK_ROWS = 2_000
# Few rows are sent sooner than the interval: that so many changed at once is what it is for.
FEW_ROWS = 100
SOON_S = 0.15


@router.get(
    "/api/v1/live",
    response_class=Response,
    responses={200: {"content": {"text/event-stream": {}}, "description": "Server-sent events, without end."}},
)
async def live(
    request: Request,
    context: InContext,
    _who: Viewer,
    scope: Scoped,
    filter: Filter,  # noqa: A002 - the query's name
) -> Response:
    """Stream what changes."""
    if context.feeder.watchers >= STREAMS:
        raise ApiError(503, "busy", f"{STREAMS} live views are open", headers={"Retry-After": "30"})
    client = _Client(context.feeder, context.settings.live_interval_s, compiled(filter), scope.match)
    client.resume(request.headers.get("last-event-id", ""))
    return EventStream(client, request, context)


@dataclass(slots=True)
class _Client:
    """How far one client is."""

    feeder: Feeder
    interval_s: float
    match: Match | None
    scope: Match | None
    version: int = 0
    epoch: str = ""
    event: int = 0
    sent: int = 0
    shown: set[str] = field(default_factory=set)

    def resume(self, last: str) -> None:
        """Go on where a client was; not with a filter, because what it shows is not known."""
        epoch, _, version = last.partition("-")
        if self.match is None and epoch == self.feeder.board.epoch and version.isdigit():
            self.epoch, self.version = epoch, min(int(version), self.feeder.board.version)

    async def messages(self) -> AsyncIterator[bytes]:
        """Yield messages; after one with many rows there is at least the interval before the next."""
        if self.epoch:
            yield _message("hello", _hello(fresh=False))
        events = self.feeder.events
        self.event = events[-1].id if events else 0
        beat_at = time.monotonic()
        while True:
            if self.feeder.read_at is not None:
                for message in self._news(self.feeder.board):
                    beat_at = time.monotonic()
                    yield message
            if time.monotonic() - beat_at >= BEAT_S:
                beat_at = time.monotonic()
                yield _message("beat", {"now_ms": _clock.now_ms(), "behind_s": self._behind_s()})
            await asyncio.sleep(self.interval_s if self.sent > FEW_ROWS else min(SOON_S, self.interval_s))
            if self.version == self.feeder.board.version and self.epoch == self.feeder.board.epoch:
                await self.feeder.moved(BEAT_S)

    def _news(self, board: Board) -> list[bytes]:
        found = []
        if self.epoch != board.epoch:
            self.epoch, self.version = board.epoch, 0
            self.shown.clear()
            found.append(_message("hello", _hello(fresh=True)))
        rows, gone = board.since(self.version, self.match, self.shown)
        self.version, self.sent = board.version, len(rows)
        number = f"{board.epoch}-{board.version}"
        for at in range(0, max(len(rows), bool(gone)), CHUNK_ROWS):
            body = {"now_ms": _clock.now_ms(), "rows": rows[at : at + CHUNK_ROWS], "gone": gone if at == 0 else []}
            found.append(_message("rows", body, number if at + CHUNK_ROWS >= len(rows) else None))
        events = [event for event in self.feeder.events if event.id > self.event]
        if events:
            self.event = events[-1].id
        if self.scope is not None:
            events = [event for event in events if board.lets(event.site, event.device, self.scope)]
        if events:
            found.append(_message("events", {"events": [_event(event) for event in events]}))
        return found

    def _behind_s(self) -> float | None:
        return None if self.feeder.read_at is None else round(time.monotonic() - self.feeder.read_at, 1)


class EventStream(Response):
    """Sends a client's messages until it leaves, is too slow, or its session is over."""

    media_type = "text/event-stream"

    def __init__(self, client: _Client, request: Request, context: Context) -> None:
        """Prepare the answer; nothing is held before it is sent."""
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._client, self._request, self._context = client, request, context

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        sending = asyncio.ensure_future(self._send(scope, send))
        leaving = asyncio.ensure_future(_left(receive))
        try:
            with self._client.feeder.watched():
                await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sending.cancel()
            leaving.cancel()
            await asyncio.gather(sending, leaving, return_exceptions=True)

    async def _send(self, scope: Scope, send: Send) -> None:
        checked_at = time.monotonic()
        async for message in self._client.messages():
            if time.monotonic() - checked_at > RECHECK_S:
                checked_at = time.monotonic()
                if not await self._still_welcome(scope):
                    bye = _message("bye", {"now_ms": _clock.now_ms()})
                    await send({"type": "http.response.body", "body": bye, "more_body": False})
                    return
            body = {"type": "http.response.body", "body": message, "more_body": True}
            await asyncio.wait_for(send(body), SLOW_S)

    async def _still_welcome(self, scope: Scope) -> bool:
        headers = {name.lower(): value for name, value in self._request.headers.items()}
        peer = scope["client"][0] if scope.get("client") else ""
        return await run_in_threadpool(self._context.gatekeeper.who, headers, peer) is not None


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def _hello(*, fresh: bool) -> dict[str, Any]:
    return {"now_ms": _clock.now_ms(), "columns": COLUMNS, "fresh": fresh}


def _message(name: str, body: object, number: str | None = None) -> bytes:
    """A message of the stream: JSON has no line ends, so one `data:` line holds it."""
    head = f"id: {number}\nevent: {name}\ndata: " if number else f"event: {name}\ndata: "
    return head.encode() + msgspec.json.encode(body) + b"\n\n"


def _event(event: EventRow) -> dict[str, object]:
    names = ("id", "site", "device", "ts_ms", "arrived_ms", "level", "code", "text", "model")
    return {name: getattr(event, name) for name in names}
