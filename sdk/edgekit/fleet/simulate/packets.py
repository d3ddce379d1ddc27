"""The part of MQTT that simulated devices speak, as bytes: no sockets, no clock.

Why a codec of our own: kept libraries were measured first (docs/adr/0035). paho connects with a blocking call, so a
thousand devices in one loop would stand still while a broker is away; gmqtt takes six times the memory a connection.
A simulation also has to do what no library lets it: fall silent with the connection open.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

MOST_PACKET_BYTES = 512 * 1024
V311, V5 = 4, 5
_LONGEST_LENGTH = 4
_SCHEMA = ("schema", "tele/1")


class Type(IntEnum):
    """What a packet is: the upper half of its first byte."""

    CONNECT = 1
    CONNACK = 2
    PUBLISH = 3
    PUBACK = 4
    SUBSCRIBE = 8
    SUBACK = 9
    PINGREQ = 12
    PINGRESP = 13
    DISCONNECT = 14


class PacketError(ValueError):
    """What came is no MQTT, or more than is taken."""


@dataclass(frozen=True, slots=True)
class Packet:
    """A packet taken apart as far as a device needs it; `code` is a reason code, of a SUBACK the worst one.

    `receive_most` is how many messages the other side takes before it has acknowledged the first.
    """

    type: int
    id: int = 0
    code: int = 0
    topic: str = ""
    payload: bytes = b""
    qos: int = 0
    receive_most: int = 65535


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello:
    """What a CONNECT says."""

    client_id: str
    keepalive_s: int
    username: str | None = None
    password: str | None = None
    will_topic: str | None = None
    will: bytes = b""
    will_delay_s: int = 0


def connect(hello: Hello, version: int) -> bytes:
    """Return a CONNECT that begins a clean session; a will is retained, at least once."""
    flags = 0x02
    body = [b"" if version == V311 else b"\0", _text(hello.client_id)]
    if hello.will_topic is not None:
        flags |= 0x04 | 0x08 | 0x20
        if version == V5:
            body.append(_properties(b"\x18" + struct.pack(">I", hello.will_delay_s) if hello.will_delay_s else b""))
        body += [_text(hello.will_topic), _bytes(hello.will)]
    if hello.username is not None:
        flags |= 0x80
        body.append(_text(hello.username))
    if hello.password is not None:
        flags |= 0x40
        body.append(_text(hello.password))
    head = b"\0\x04MQTT" + bytes((version, flags)) + struct.pack(">H", hello.keepalive_s)
    return _packet(Type.CONNECT << 4, head + b"".join(body))


def subscribe(packet_id: int, topics: Sequence[str], version: int) -> bytes:
    """Return a SUBSCRIBE to topics, at least once."""
    body = struct.pack(">H", packet_id) + (b"\0" if version == V5 else b"")
    return _packet(Type.SUBSCRIBE << 4 | 2, body + b"".join(_text(topic) + b"\x01" for topic in topics))


def publish(  # noqa: PLR0913  # a message has these
    topic: str, payload: bytes, packet_id: int, version: int, *, retain: bool = False, expiry_s: int | None = None
) -> bytes:
    """Return a PUBLISH at least once; on MQTT 5 with the content type, schema and expiry that an agent sends."""
    head = _text(topic) + struct.pack(">H", packet_id)
    if version == V5:
        expiry = b"" if expiry_s is None else b"\x02" + struct.pack(">I", expiry_s)
        head += _properties(expiry + _CONTENT)
    return _packet(Type.PUBLISH << 4 | 0x02 | retain, head + payload)


def puback(packet_id: int) -> bytes:
    """Return a PUBACK that says all is well."""
    return b"\x40\x02" + struct.pack(">H", packet_id)


PINGREQ = b"\xc0\0"
DISCONNECT = b"\xe0\0"


class Decoder:
    """Takes bytes as they come and gives packets."""

    def __init__(self, version: int) -> None:
        """Take the protocol version, 4 (3.1.1) or 5."""
        self._version = version
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Packet]:
        """Return the packets that are whole now.

        Raises:
            PacketError: if that is no MQTT, or a packet is larger than 512 KiB.
        """
        buffer = self._buffer
        buffer += data
        packets, at = [], 0
        while (found := _length(buffer, at + 1)) is not None:
            size, begin = found
            if size > MOST_PACKET_BYTES:
                raise PacketError(f"a packet has {size} bytes, the limit is {MOST_PACKET_BYTES}")
            if len(buffer) < begin + size:
                break
            try:
                packets.append(self._packet(buffer[at], bytes(buffer[begin : begin + size])))
            except (struct.error, IndexError, UnicodeDecodeError) as exc:
                raise PacketError("a packet is shorter than it says") from exc
            at = begin + size
        del buffer[:at]
        return packets

    def _packet(self, first: int, body: bytes) -> Packet:
        kind = first >> 4
        if kind == Type.PUBLISH:
            return self._published(first, body)
        if kind == Type.PUBACK:
            return Packet(kind, _number(body, 0), body[2] if len(body) > 2 else 0)  # noqa: PLR2004  # a reason follows the id
        if kind == Type.CONNACK:
            return Packet(kind, code=body[1], receive_most=_receive_most(body) if self._version == V5 else 65535)
        if kind == Type.SUBACK:
            begin = 2 + (_skip(body, 2) if self._version == V5 else 0)
            return Packet(kind, _number(body, 0), max(body[begin:], default=0))
        if kind == Type.DISCONNECT:
            return Packet(kind, code=body[0] if body else 0)
        return Packet(kind)

    def _published(self, first: int, body: bytes) -> Packet:
        end = 2 + _number(body, 0)
        topic, qos, packet_id = body[2:end].decode(), first >> 1 & 3, 0
        if qos:
            packet_id, end = _number(body, end), end + 2
        if self._version == V5:
            end += _skip(body, end)
        return Packet(Type.PUBLISH, packet_id, 0, topic, body[end:], qos)


def _packet(first: int, body: bytes) -> bytes:
    return bytes((first,)) + _varint(len(body)) + body


def _varint(value: int) -> bytes:
    found = bytearray()
    while True:
        value, digit = value >> 7, value & 0x7F
        found.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(found)


def _length(data: bytearray | bytes, at: int) -> tuple[int, int] | None:
    """Return a length written in 7-bit digits and where it ends, None when it is not whole."""
    value = 0
    for shift in range(_LONGEST_LENGTH):
        if at + shift >= len(data):
            return None
        digit = data[at + shift]
        value |= (digit & 0x7F) << 7 * shift
        if not digit & 0x80:
            return value, at + shift + 1
    raise PacketError("a length has more than 4 bytes")


def _skip(body: bytes, at: int) -> int:
    """Return how many bytes the properties at a place take."""
    found = _length(body, at)
    if found is None:
        raise PacketError("the properties of a packet are cut off")
    return found[1] - at + found[0]


_WIDTHS = {
    **dict.fromkeys((0x01, 0x17, 0x19, 0x24, 0x25, 0x28, 0x29, 0x2A), 1),
    **dict.fromkeys((0x13, 0x21, 0x22, 0x23), 2),
    **dict.fromkeys((0x02, 0x11, 0x18, 0x27), 4),
}
_RECEIVE_MOST, _USER = 0x21, 0x26


def _receive_most(body: bytes) -> int:
    """Return the Receive Maximum among the properties of a CONNACK."""
    at = 2
    end = at + _skip(body, at)
    found = _length(body, at)
    at = end if found is None else found[1]
    while at < end:
        kind, at = body[at], at + 1
        if kind == _RECEIVE_MOST:
            return _number(body, at)
        if kind in _WIDTHS:
            at += _WIDTHS[kind]
        else:
            for _ in range(2 if kind == _USER else 1):
                at += 2 + _number(body, at)
    return 65535


def _number(body: bytes, at: int) -> int:
    return int(struct.unpack_from(">H", body, at)[0])


def _text(value: str) -> bytes:
    return _bytes(value.encode())


def _bytes(value: bytes) -> bytes:
    return struct.pack(">H", len(value)) + value


def _properties(body: bytes) -> bytes:
    return _varint(len(body)) + body


_CONTENT = b"\x03" + _text("application/json") + b"\x26" + _text(_SCHEMA[0]) + _text(_SCHEMA[1])
