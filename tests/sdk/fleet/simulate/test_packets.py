"""The bytes of MQTT: against what a broker's side says, cut anywhere, and broken."""

import contextlib
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.fleet.simulate import packets
from edgekit.fleet.simulate.packets import V5, V311, Decoder, Hello, Packet, PacketError, Type

versions = pytest.mark.parametrize("version", [V311, V5], ids=["3.1.1", "5"])


@versions
@settings(deadline=None)
@given(
    topic=st.text(st.characters(codec="utf-8"), min_size=1, max_size=40),
    payload=st.binary(max_size=400),
    cuts=st.lists(st.integers(1, 50), max_size=20),
)
def test_a_publish_comes_back_however_it_is_cut(version: int, topic: str, payload: bytes, cuts: list[int]) -> None:
    data = packets.publish(topic, payload, 7, version, expiry_s=60) * 2
    decoder, found = Decoder(version), []
    for size in cuts:
        found += decoder.feed(data[:size])
        data = data[size:]
    found += decoder.feed(data)
    assert found == [Packet(Type.PUBLISH, 7, 0, topic, payload, 1)] * 2


def test_the_broker_says_how_many_messages_it_takes_at_once() -> None:
    properties = b"\x22\x00\x0a" + b"\x21\x00\x14" + b"\x26\x00\x01a\x00\x01b"
    connack = bytes((0x20, 3 + len(properties), 0, 0, len(properties))) + properties
    assert Decoder(V5).feed(connack) == [Packet(Type.CONNACK, receive_most=20)]
    assert Decoder(V311).feed(b"\x20\x02\x00\x05") == [Packet(Type.CONNACK, code=5)]


def test_a_puback_may_have_a_reason() -> None:
    assert Decoder(V5).feed(b"\x40\x03\x00\x09\x10") == [Packet(Type.PUBACK, 9, 0x10)]
    assert Decoder(V5).feed(b"\x40\x02\x00\x09") == [Packet(Type.PUBACK, 9, 0)]


@versions
def test_the_worst_answer_to_a_subscription_counts(version: int) -> None:
    body = struct.pack(">H", 3) + (b"\0" if version == V5 else b"") + b"\x01\x80\x00"
    assert Decoder(version).feed(bytes((0x90, len(body))) + body) == [Packet(Type.SUBACK, 3, 0x80)]


@pytest.mark.parametrize(
    "data",
    [
        b"\x30\xff\xff\xff\xff\x01",
        b"\x30\xff\xff\xff\x7f",
        b"\x32\x02\x00\x09",
        b"\x32\x03\x00\x01\xff",
        b"\x40\x01\x00",
    ],
    ids=["endless-length", "too-large", "topic-cut", "no-utf8", "no-id"],
)
def test_nonsense_is_refused(data: bytes) -> None:
    with pytest.raises(PacketError):
        Decoder(V5).feed(data)


@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_nothing_else_than_a_packet_error_comes_of_any_bytes(data: bytes) -> None:
    with contextlib.suppress(PacketError):
        Decoder(V5).feed(data)


@versions
def test_a_hello_holds_the_will(version: int) -> None:
    hello = Hello(client_id="dev", keepalive_s=30, username="u", password="p", will_topic="t", will=b"gone")  # noqa: S106  # none
    data = packets.connect(hello, version)
    assert data[2:9] == b"\x00\x04MQTT" + bytes((version,))
    assert data[9] == 0x80 | 0x40 | 0x20 | 0x08 | 0x04 | 0x02
    assert data.endswith(b"\x00\x01t\x00\x04gone\x00\x01u\x00\x01p")
