"""The structs beside the protocol's own messages: they accept and refuse the same."""

import dataclasses
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.fleet.wire import KINDS, decode, document
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import BY_KIND, MAX_MESSAGE_BYTES, Kind

FILES = sorted((Path(__file__).parents[3] / "data" / "protocol").glob("*.json"))
GOLDEN = [(Kind(path.name.split(".")[0]), path) for path in FILES if Kind(path.name.split(".")[0]) in KINDS]
STRANGE = st.sampled_from(
    [None, True, 0, -1, 1.5, 2**63, 2**64, 1e30, "", "text", "x" * 9000, [], {}, [1], {"a": None}, ["a"], {"a": 1}]
)


@pytest.mark.parametrize(("kind", "path"), GOLDEN, ids=[path.name for _, path in GOLDEN])
def test_every_released_message_is_read_as_the_protocol_reads_it(kind: Kind, path: Path) -> None:
    payload = json.dumps(json.loads(path.read_text())).encode()
    mine, theirs = decode(kind, payload), BY_KIND[kind].from_bytes(payload)
    assert BY_KIND[kind].from_json(json.loads(document(mine))) == theirs


@pytest.mark.parametrize("kind", KINDS)
def test_names_and_what_is_required_are_the_protocols(kind: Kind) -> None:
    theirs = {
        (field.name, field.metadata.get("wire", field.name)): field.default is dataclasses.MISSING
        and field.default_factory is dataclasses.MISSING
        for field in dataclasses.fields(BY_KIND[kind])
        if field.name != "extra"
    }
    mine = {(field.name, field.encode_name): field.required for field in msgspec.structs.fields(KINDS[kind])}
    assert mine == theirs


@pytest.mark.parametrize(("kind", "path"), GOLDEN, ids=[path.name for _, path in GOLDEN])
@given(data=st.data())
def test_a_message_with_something_strange_in_it_is_accepted_or_refused_by_both(
    kind: Kind, path: Path, data: st.DataObject
) -> None:
    body: Any = json.loads(path.read_text())
    place = body
    for _ in range(data.draw(st.integers(0, 2))):
        inner = [value for value in place.values() if isinstance(value, dict) and value]
        if not inner:
            break
        place = data.draw(st.sampled_from(inner))
    place[data.draw(st.sampled_from([*place, "new"]))] = data.draw(STRANGE)
    payload = json.dumps(body).encode()
    assert _accepts(lambda: decode(kind, payload)) == _accepts(lambda: BY_KIND[kind].from_bytes(payload)), body


def _accepts(work: Any) -> bool:
    try:
        work()
    except ProtocolError:
        return False
    return True


@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b"\xff",
        b'{"st":"a\\u0000"}',
        b'{"st":"\\ud800"}',
        b'{"st":NaN}',
        b"[" * 100_000,
        b" " * (MAX_MESSAGE_BYTES + 1),
    ],
)
@pytest.mark.parametrize("kind", KINDS)
def test_what_is_no_message_is_refused(kind: Kind, payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        decode(kind, payload)


def test_what_no_device_sends_is_refused() -> None:
    with pytest.raises(ProtocolError, match="'ack' is no message of a device"):
        decode(Kind.ACK, b'{"boot":"b1","seq":1}')
