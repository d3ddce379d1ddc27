"""One MQTT connection on an asyncio loop, as light as it can be: a thousand of them are one process's."""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

from edgekit.fleet.simulate import packets
from edgekit.fleet.simulate.device import Out
from edgekit.fleet.simulate.packets import Hello, Packet, PacketError, Type

SUBSCRIBED_AT_ONCE = 200
NO_SUBSCRIBERS = 0x10
_FAILED = 0x80
_LAST_ID = 65535

Who = TypeVar("Who")


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls(Generic[Who]):
    """What a link tells its owner; the owner hangs what it likes on a message it publishes."""

    up: Callable[[], None]
    down: Callable[[str], None]
    message: Callable[[str, bytes], None]
    taken: Callable[[Who, Out, bool], None]


class Link(asyncio.Protocol, Generic[Who]):
    """From the connection to its end; it is not used again."""

    def __init__(self, hello: Hello, topics: Sequence[str], version: int, calls: Calls[Who]) -> None:
        """Take what to say first and what to listen to."""
        self._hello, self._topics, self._version, self._calls = hello, topics, version, calls
        self._decoder = packets.Decoder(version)
        self._transport: asyncio.Transport | None = None
        self._loop = asyncio.get_running_loop()
        self._flying: dict[int, tuple[Who, Out]] = {}
        self._waiting: deque[tuple[Who, Out]] = deque()
        self._room = 0
        self._id = 0
        self._subscribing = 0
        self._wrote_s = self._heard_s = self._loop.time()
        self._ping: asyncio.TimerHandle | None = None
        self._why = "the connection was lost"
        self._silent = False

    # --- what the owner asks for

    @property
    def left(self) -> int:
        """How many messages the broker has not taken yet."""
        return len(self._flying) + len(self._waiting)

    def publish(self, who: Who, out: Out) -> None:
        """Send a message, or keep it while the broker has not taken those before it."""
        if self._room > len(self._flying) and not self._waiting:
            self._send(who, out)
        else:
            self._waiting.append((who, out))

    def abort(self) -> None:
        """End as a process that dies: nothing more is said."""
        self._why = "it was cut off"
        if self._transport is not None:
            self._transport.abort()

    def fall_silent(self) -> None:
        """Do nothing more, with the connection open, as a device that has lost its power."""
        self._silent = True
        self._stop_pinging()
        if self._transport is not None:
            self._transport.pause_reading()

    def close(self) -> None:
        """Say goodbye, so that the broker drops the will."""
        self._why = "it was closed"
        if self._transport is not None:
            if not self._silent:
                self._write(packets.DISCONNECT)
            self._transport.close()

    # --- what asyncio calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say hello."""
        assert isinstance(transport, asyncio.Transport)  # noqa: S101  # of a stream
        self._transport = transport
        self._write(packets.connect(self._hello, self._version))
        self._watch()

    def data_received(self, data: bytes) -> None:
        """Take what the broker says."""
        self._heard_s = self._loop.time()
        try:
            for packet in self._decoder.feed(data):
                self._take(packet)
        except PacketError as exc:
            self._why = f"the broker sent no MQTT: {exc}"
            self.abort()

    def connection_lost(self, _error: Exception | None) -> None:
        """Tell the owner."""
        self._stop_pinging()
        self._transport = None
        self._calls.down(self._why)

    # --- the rest

    def _take(self, packet: Packet) -> None:
        match packet.type:
            case Type.PUBLISH:
                if packet.qos:
                    self._write(packets.puback(packet.id))
                self._calls.message(packet.topic, packet.payload)
            case Type.PUBACK:
                self._acknowledged(packet)
            case Type.CONNACK if packet.code:
                self._why = f"the broker refused: reason {packet.code}"
                self.close()
            case Type.CONNACK:
                self._room = packet.receive_most
                self._subscribe()
            case Type.SUBACK:
                self._subscribing -= 1
                if packet.code >= _FAILED:
                    self._why = f"the broker refused a subscription: reason {packet.code}"
                    self.close()
                elif not self._subscribing:
                    self._calls.up()
            case Type.DISCONNECT:
                self._why = f"the broker disconnected: reason {packet.code}"

    def _subscribe(self) -> None:
        for begin in range(0, len(self._topics), SUBSCRIBED_AT_ONCE):
            self._subscribing += 1
            part = self._topics[begin : begin + SUBSCRIBED_AT_ONCE]
            self._write(packets.subscribe(self._next_id(), part, self._version))

    def _acknowledged(self, packet: Packet) -> None:
        known = self._flying.pop(packet.id, None)
        while self._waiting and len(self._flying) < self._room:
            self._send(*self._waiting.popleft())
        if known is not None:
            self._calls.taken(*known, packet.code != NO_SUBSCRIBERS)

    def _send(self, who: Who, out: Out) -> None:
        number = self._next_id()
        self._flying[number] = who, out
        self._write(
            packets.publish(out.topic, out.payload, number, self._version, retain=out.retain, expiry_s=out.expiry_s)
        )

    def _next_id(self) -> int:
        self._id = self._id % _LAST_ID + 1
        while self._id in self._flying:
            self._id = self._id % _LAST_ID + 1
        return self._id

    def _write(self, data: bytes) -> None:
        # a transport that has failed and not yet said so would log each write
        if self._transport is not None and not self._silent and not self._transport.is_closing():
            self._wrote_s = self._loop.time()
            self._transport.write(data)

    def _watch(self) -> None:
        """Ping when nothing was said for long, and give up a broker that does not answer."""
        now, keepalive_s = self._loop.time(), self._hello.keepalive_s
        if now - self._heard_s > 2 * keepalive_s:
            self._why = "the broker does not answer"
            self.abort()
            return
        # what is heard counts too: a device that only sends would never notice that its broker is gone
        if now - min(self._wrote_s, self._heard_s) >= 0.7 * keepalive_s:
            self._write(packets.PINGREQ)
        self._ping = self._loop.call_later(keepalive_s / 4, self._watch)

    def _stop_pinging(self) -> None:
        if self._ping is not None:
            self._ping.cancel()
            self._ping = None
