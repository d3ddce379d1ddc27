"""The contract: round trips, what is refused, and the messages of every released schema."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import BY_KIND, MAX_MESSAGE_BYTES, Kind, Report, State

OLD = Path(__file__).parents[1] / "data" / "protocol"
FILES = sorted(OLD.glob("*.json"))


def _of(file: Path) -> Any:
    return BY_KIND[Kind(file.name.partition(".")[0])]


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_messages_of_every_released_schema_load_and_come_out_as_they_were(file: Path) -> None:
    body = json.loads(file.read_text())
    assert _of(file).from_json(body).to_json() == body


def test_every_kind_has_a_released_message() -> None:
    assert {file.name.partition(".")[0] for file in FILES} == {kind.value for kind in Kind}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.name)
def test_fields_of_a_newer_sender_are_kept_and_given_back(file: Path) -> None:
    body = {**json.loads(file.read_text()), "later": {"a": [1, None]}}
    message = _of(file).from_bytes(json.dumps(body).encode())
    assert message.extra == {"later": {"a": [1, None]}}
    assert json.loads(message.to_bytes()) == body


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"seq": "7"}, r"Report\.seq is not a whole number"),
        ({"seq": True}, r"Report\.seq is not a whole number"),
        ({"win_s": "10"}, r"Report\.win_s is not a finite number"),
        ({"exec": "CPU"}, r"Report\.exec is not a list"),
        ({"err": {"x": 1.5}}, r"err\.x is not a whole number"),
        ({"lat": {}}, r"Latency\.pre is missing"),
        ({"model": "m" * 9000}, r"Report\.model is not text of at most"),
        ({"boot": None}, r"Report\.boot is not text"),
    ],
    ids=["text", "bool", "float", "list", "nested", "histogram", "long", "null"],
)
def test_a_wrong_field_is_named(change: dict[str, object], words: str) -> None:
    body = {**json.loads((OLD / "tele.1.json").read_text()), **change}
    with pytest.raises(ProtocolError, match=words):
        Report.from_json(body)


def test_a_missing_field_is_named() -> None:
    with pytest.raises(ProtocolError, match=r"State\.st is missing"):
        State.from_json({"boot": "x"})


@pytest.mark.parametrize(
    "payload",
    [b"", b"{", b"[]", b"null", b'{"st":NaN}', b"\xff", b"[" * 100_000, b'{"st":"' + b"x" * MAX_MESSAGE_BYTES + b'"}'],
    ids=["empty", "cut", "list", "null", "nan", "not-utf8", "deep", "large"],
)
def test_a_broken_payload_is_a_protocol_error(payload: bytes) -> None:
    with pytest.raises(ProtocolError):
        State.from_bytes(payload)


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(st.sampled_from(sorted(BY_KIND)), st.binary(max_size=200))
def test_any_bytes_give_a_message_or_a_protocol_error(kind: Kind, payload: bytes) -> None:
    _accept_or_refuse(kind, payload)


@given(st.sampled_from(FILES), st.data())
def test_any_change_of_a_field_gives_a_message_or_a_protocol_error(file: Path, data: st.DataObject) -> None:
    body = json.loads(file.read_text())
    body[data.draw(st.sampled_from(sorted(body)))] = data.draw(_JSON)
    _accept_or_refuse(Kind(file.name.partition(".")[0]), json.dumps(body).encode())


def _accept_or_refuse(kind: Kind, payload: bytes) -> None:
    try:
        message = BY_KIND[kind].from_bytes(payload)
    except ProtocolError:
        return
    assert BY_KIND[kind].from_bytes(message.to_bytes()) == message
