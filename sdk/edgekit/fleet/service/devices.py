"""What devices say of themselves goes into the store: state, info, events, and what they have of the desired state."""

import asyncio
from collections.abc import Sequence

from edgekit.fleet.noise import tell_noisy
from edgekit.fleet.service.host import Message
from edgekit.fleet.service.service import Service
from edgekit.fleet.store import DeviceKey, Heard
from edgekit.fleet.store.counters import Counted
from edgekit.fleet.wire import Event, Info, Reported, State, decode
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import Kind

SOURCE = "service"
AT_ONCE = 2_000
WAIT_S = 0.2
GATHER_S = 0.1


class DevicesPart:
    """Takes messages off the link, stores them, and hands them to all who listen."""

    def __init__(self, service: Service) -> None:
        """Listen."""
        self._service, self._store = service, service.store
        service.listen((Kind.STATE, Kind.INFO, Kind.REPORTED), self._said)
        service.listen((Kind.EVENT,), self._events)

    async def run(self) -> None:
        """Go on as long as the service runs."""
        link, health = self._service.link, self._service.health
        known = await asyncio.to_thread(self._store.devices.all)
        link.know_sites({row.site for row in known})
        health.says("devices", None)
        loop, next_s = asyncio.get_running_loop(), 0.0
        while True:
            # a commit costs far more than a message: when many come, they are taken together
            await asyncio.sleep(max(0.0, next_s - loop.time()))
            messages = await asyncio.to_thread(link.take, WAIT_S, AT_ONCE)
            if messages:
                next_s = loop.time() + (GATHER_S if len(messages) < AT_ONCE else 0.0)
                link.know_sites({message.topic.site for message in messages})
                await self._service.handle(messages)
            if shed := link.shed():
                counted = {"received": shed, "throttled": shed}
                await self._service.stored(self._store.counters.add, SOURCE, counted)
                await asyncio.to_thread(tell_noisy, self._store, link.noisy, "messages")

    async def _said(self, messages: Sequence[Message]) -> None:
        decoded, counted = _decoded(messages)
        said = [
            Heard(_key(message), body, message.payload, message.arrived_ms)
            for message, body in decoded
            if isinstance(body, State | Info | Reported)
        ]
        await self._service.stored(self._store.devices.put, said, counted)

    async def _events(self, messages: Sequence[Message]) -> None:
        decoded, counted = _decoded(messages)
        events = [(_key(message), body, message.arrived_ms) for message, body in decoded if isinstance(body, Event)]
        await self._service.stored(self._store.events.add_all, events, counted)


def _key(message: Message) -> DeviceKey:
    return DeviceKey(message.topic.site, message.topic.device)


def _decoded(messages: Sequence[Message]) -> tuple[list[tuple[Message, object]], Counted]:
    """Return what could be decoded, and the counts; an empty retained message is one that was taken away."""
    decoded: list[tuple[Message, object]] = []
    rejected = 0
    for message in messages:
        if not message.payload:
            continue
        try:
            decoded.append((message, decode(message.topic.kind, message.payload)))
        except ProtocolError:
            rejected += 1
    counts = {"received": len(messages), "decoded": len(messages) - rejected, "rejected": rejected}
    return decoded, Counted(SOURCE, counts)
