"""MQTT 5 by the codec of the `mqtt5` package and a socket: the cheapest way in, see docs/adr/0032.

One thread reads and writes, so a socket under TLS needs no lock. What came is acknowledged to the broker as soon as it
is read (the devices keep their reports until they are stored); what is not read stays with the broker.
"""

import contextlib
import select
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

import mqtt5

from edgekit.fleet._url import BrokerUrl, tls_context
from edgekit.fleet.ingest.links import CONNECT_S, KEEP_ALIVE_S, MAX_PACKET_BYTES, Subscription
from edgekit_agent.errors import TransportError

READ_BYTES = 256 * 1024
FAILURE = 0x80  # reason codes from here on
_VERSION_CODES = (0x84, 0x81, 0x01)  # unsupported version, malformed packet; and what MQTT 3.1.1 says
_AGAIN = (BlockingIOError, ssl.SSLWantReadError, ssl.SSLWantWriteError)


class VersionError(TransportError):
    """The broker does not know MQTT 5."""


class Mqtt5Link:
    """See `links.Link`."""

    def __init__(self, url: BrokerUrl, subscription: Subscription) -> None:
        """Connect and subscribe.

        Raises:
            TransportError: if the broker does not answer within 10 s, or refuses.
            VersionError: if it does not know MQTT 5.
        """
        self._url = url
        self._out, self._in = bytearray(), bytearray()
        self._sent = self._heard = time.monotonic()
        self._messages: list[tuple[str, bytes]] = []
        try:
            self._socket = _connected(url)
        except OSError as exc:
            raise TransportError(f"broker {url} did not answer: {_reason(exc)}") from exc
        try:
            self._handshake(subscription)
        except BaseException:
            self._socket.close()
            raise

    def _handshake(self, wanted: Subscription) -> None:
        password = self._url.password.encode() if self._url.password is not None else None
        connect = mqtt5.ConnectPacket(
            wanted.client_id,
            username=self._url.username,
            password=password,
            clean_start=wanted.session_s == 0,
            session_expiry_interval=wanted.session_s,
            keep_alive=KEEP_ALIVE_S,
            max_packet_size=MAX_PACKET_BYTES,
        )
        self._out += connect.write()
        answer = self._answer(mqtt5.ConnAckPacket, closed=VersionError(f"broker {self._url} closed the connection"))
        if int(answer.reason_code):
            told = TransportError if int(answer.reason_code) not in _VERSION_CODES else VersionError
            raise told(f"broker {self._url} refused: {_named(answer.reason_code)}")
        topic = mqtt5.TopicFilter(wanted.topic, max_qos=mqtt5.QoS.AT_LEAST_ONCE)
        self._out += mqtt5.SubscribePacket(1, [topic]).write()
        granted = self._answer(mqtt5.SubAckPacket).reason_codes[0]
        if int(granted) >= FAILURE:
            raise TransportError(f"broker {self._url} refused the subscription: {_named(granted)}")

    def _answer(self, kind: type[Any], closed: TransportError | None = None) -> Any:  # noqa: ANN401  # a packet of that kind
        """Wait for a packet of a kind; messages of the session that come before it are kept."""
        found: list[Any] = []
        end = time.monotonic() + CONNECT_S
        while not found:
            if time.monotonic() > end:
                raise TransportError(f"broker {self._url} did not answer in time")
            try:
                self._turn(0.2, lambda packet: found.append(packet) if isinstance(packet, kind) else None)
            except TransportError as exc:
                raise (closed or exc) from exc
        return found[0]

    # --- see links.Link

    def poll(self, timeout_s: float) -> list[tuple[str, bytes]]:
        """Return topic and payload of what came, waiting so long for the first."""
        if not self._messages:
            self._turn(timeout_s, self._control)
        messages, self._messages = self._messages, []
        return messages

    def publish(self, topic: str, payload: bytes, expiry_s: int) -> None:
        """Send a message at most once; it goes out with the next poll at the latest."""
        self._out += mqtt5.PublishPacket(topic, payload=payload, message_expiry_interval=expiry_s).write()

    def idle(self) -> None:
        """Keep the connection alive without reading."""
        self._heard = time.monotonic()
        self._ping()
        self._flush()

    def close(self) -> None:
        """Say goodbye."""
        with contextlib.suppress(OSError, TransportError):
            self._out += mqtt5.DisconnectPacket().write()
            self._socket.settimeout(1.0)
            self._socket.sendall(self._out)
        self._socket.close()

    # --- the socket

    def _turn(self, timeout_s: float, control: Callable[[Any], None]) -> None:
        """Send what waits, and read once if something comes in time."""
        self._ping()
        self._flush()
        pending = isinstance(self._socket, ssl.SSLSocket) and self._socket.pending()
        writes = [self._socket] if self._out else []
        if not pending and self._socket not in select.select([self._socket], writes, [], timeout_s)[0]:
            return
        try:
            data = self._socket.recv(READ_BYTES)
        except _AGAIN:
            return
        except OSError as exc:
            raise TransportError(f"broker {self._url} is gone: {_reason(exc)}") from exc
        if not data:
            raise TransportError(f"broker {self._url} closed the connection")
        self._heard = time.monotonic()
        self._parse(data, control)
        self._flush()

    def _parse(self, data: bytes, control: Callable[[Any], None]) -> None:
        if self._in:
            self._in += data
            data = bytes(self._in)
            self._in.clear()
        view, at, end = memoryview(data), 0, len(data)
        try:
            while at < end:
                packet, size = mqtt5.read(view[at:])
                at += size
                if isinstance(packet, mqtt5.PublishPacket):
                    if packet.packet_id is not None:
                        self._out += mqtt5.PubAckPacket(packet.packet_id).write()
                    self._messages.append((packet.topic, packet.payload or b""))
                else:
                    control(packet)
        except IndexError:  # the rest is still on its way
            self._in += view[at:]
        except ValueError as exc:
            raise TransportError(f"broker {self._url} sent something that is no MQTT 5: {exc}") from exc
        if len(self._in) > 2 * MAX_PACKET_BYTES:
            raise TransportError(f"broker {self._url} sent a packet of more than {MAX_PACKET_BYTES} bytes")

    def _control(self, packet: Any) -> None:  # noqa: ANN401  # any packet
        if isinstance(packet, mqtt5.DisconnectPacket):
            raise TransportError(f"broker {self._url} ended the connection: {_named(packet.reason_code)}")

    def _ping(self) -> None:
        now = time.monotonic()
        if now - self._heard > 1.5 * KEEP_ALIVE_S:
            raise TransportError(f"broker {self._url} is silent")
        if now - min(self._sent, self._heard) > KEEP_ALIVE_S / 2 and now - self._sent > 1.0:
            self._out += mqtt5.PingReqPacket().write()

    def _flush(self) -> None:
        if not self._out:
            return
        try:
            sent = self._socket.send(self._out)
        except _AGAIN:
            return
        except OSError as exc:
            raise TransportError(f"broker {self._url} is gone: {_reason(exc)}") from exc
        del self._out[:sent]
        self._sent = time.monotonic()


def _connected(url: BrokerUrl) -> socket.socket:
    plain = socket.create_connection((url.host, url.port), timeout=CONNECT_S)
    try:
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        context = tls_context(url)
        ready = plain if context is None else context.wrap_socket(plain, server_hostname=url.host)
    except BaseException:
        plain.close()
        raise
    ready.settimeout(0.0)
    return ready


def _reason(exc: OSError) -> str:
    return exc.strerror or str(exc) or type(exc).__name__


def _named(code: Any) -> str:  # noqa: ANN401  # one of several enumerations
    return str(code).rpartition(".")[2].lower().replace("_", " ")
