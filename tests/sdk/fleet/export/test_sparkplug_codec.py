"""Sparkplug's payloads against protobuf's own code, and the rules of an edge node."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.fleet.export.sparkplug import DataType, Metric, Payload, decode, encode
from edgekit.fleet.export.sparkplug.node import METRICS_A_DEVICE, REBIRTH, EdgeNode, Out
from tests.sdk.fleet.export.described import SPARKPLUG, messages

THEIRS = messages("org.eclipse.tahu.protobuf", SPARKPLUG)["Payload"]
_U64 = st.integers(0, 2**64 - 1)
_FIELDS: dict[DataType, tuple[str, Callable[[Any], Any]]] = {
    DataType.INT32: ("int_value", lambda value: value % 2**32), DataType.UINT32: ("int_value", int),
    DataType.INT64: ("long_value", lambda value: value % 2**64), DataType.UINT64: ("long_value", int),
    DataType.FLOAT: ("float_value", float), DataType.DOUBLE: ("double_value", float),
    DataType.BOOLEAN: ("boolean_value", bool), DataType.STRING: ("string_value", str),
    DataType.BYTES: ("bytes_value", bytes),
}  # fmt: skip
_VALUES: dict[DataType, st.SearchStrategy[Any]] = {
    DataType.INT32: st.integers(-(2**31), 2**31 - 1), DataType.UINT32: st.integers(0, 2**32 - 1),
    DataType.INT64: st.integers(-(2**63), 2**63 - 1), DataType.UINT64: _U64,
    DataType.FLOAT: st.floats(width=32, allow_nan=False), DataType.DOUBLE: st.floats(allow_nan=False),
    DataType.BOOLEAN: st.booleans(), DataType.STRING: st.text(max_size=30), DataType.BYTES: st.binary(max_size=30),
}  # fmt: skip


@st.composite
def _metrics(draw: st.DrawFn) -> Metric:
    kind = draw(st.sampled_from(list(_VALUES)))
    return Metric(
        name=draw(st.none() | st.text(max_size=20)),
        alias=draw(st.none() | _U64),
        timestamp_ms=draw(st.none() | _U64),
        datatype=kind,
        historical=draw(st.booleans()),
        value=draw(st.none() | _VALUES[kind]),
    )


_PAYLOADS = st.builds(
    Payload,
    timestamp_ms=st.none() | _U64,
    seq=st.none() | st.integers(0, 255),
    metrics=st.lists(_metrics(), max_size=5).map(tuple),
)


@settings(deadline=None, max_examples=80)
@given(_PAYLOADS)
def test_what_is_written_is_read_alike_by_us_and_by_protobuf(payload: Payload) -> None:
    data = encode(payload)
    assert decode(data) == payload
    theirs = THEIRS.FromString(data)
    assert (theirs.timestamp if theirs.HasField("timestamp") else None) == payload.timestamp_ms
    assert (theirs.seq if theirs.HasField("seq") else None) == payload.seq
    for metric, other in zip(payload.metrics, theirs.metrics, strict=True):
        assert (other.name if other.HasField("name") else None) == metric.name
        assert (other.alias if other.HasField("alias") else None) == metric.alias
        assert (other.datatype, other.is_historical, other.is_null) == (
            metric.datatype,
            metric.historical,
            metric.value is None,
        )
        if metric.value is not None and metric.datatype is not None:
            field, as_theirs = _FIELDS[metric.datatype]
            assert getattr(other, field) == as_theirs(metric.value)
    assert decode(theirs.SerializeToString()) == payload


@settings(deadline=None, max_examples=200)
@given(st.binary(max_size=200))
def test_anything_else_is_refused_or_read_but_never_a_crash(data: bytes) -> None:
    try:
        decode(data)
    except DataError:
        return


def test_sizes_and_types_are_checked() -> None:
    with pytest.raises(DataError, match="the limit is"):
        decode(b"\0" * 300_000)
    for kind, value in ((None, 1), (DataType.STRING, 1), (DataType.INT64, "x"), (DataType.INT64, True)):
        with pytest.raises(DataError, match="cannot have the value"):
            encode(Payload(metrics=(Metric(datatype=kind, value=value),)))
    large = decode(encode(Payload(metrics=(Metric(datatype=DataType.FLOAT, value=1e300),))))
    assert large.metrics[0].value == math.inf


# --- the node


def _read(messages: Any) -> list[tuple[str, Payload]]:
    return [("/".join(one.topic.split("/")[2:]), decode(one.payload)) for one in messages]


def _values(**values: float) -> dict[str, tuple[DataType, float]]:
    return {name: (DataType.DOUBLE, value) for name, value in values.items()}


def test_births_come_before_data_and_numbers_never_leave_a_gap() -> None:
    node = EdgeNode("g", "n")
    ((_, will),) = _read([node.connecting(7)])
    told = _read(node.birth(1))
    assert (will.seq, will.metrics[0].name, will.metrics[0].value) == (None, "bdSeq", 7)
    assert told[0][0] == "NBIRTH/n"
    births = {one.name: one.value for one in told[0][1].metrics}
    assert (births["bdSeq"], births[REBIRTH], told[0][1].seq) == (7, False, 0)
    for at in range(300):
        told += _read(node.data("s.d", _values(a=at, b=2.0), at, at))
    told += _read(node.gone("s.d", 5))
    assert list(node.gone("s.d", 5)) == []
    assert [topic for topic, _ in told[:3]] == ["NBIRTH/n", "DBIRTH/n/s.d", "DDATA/n/s.d"]
    assert [payload.seq for _, payload in told] == [at % 256 for at in range(len(told))]
    named = {one.name: one.alias for one in told[1][1].metrics}
    assert set(named) == {"a", "b"}
    assert [(one.alias, one.name, one.value) for one in told[2][1].metrics] == [
        (named["a"], None, 1.0),
        (named["b"], None, 2.0),
    ]
    assert told[-1][0] == "DDEATH/n/s.d"


def test_a_rebirth_tells_all_that_is_there_with_the_same_aliases() -> None:
    node = EdgeNode("g", "n")
    node.connecting(1)
    list(node.birth(1))
    first = _read([*node.data("s.a", _values(x=1.0), 1, 1), *node.data("s.b", _values(x=2.0), 1, 1)])
    list(node.gone("s.b", 2))
    again = _read(node.birth(3))
    assert [topic for topic, _ in again] == ["NBIRTH/n", "DBIRTH/n/s.a"]
    assert again[1][1].metrics == first[0][1].metrics
    assert len({one.alias for _, payload in first for one in payload.metrics}) == 2
    node.connecting(2)
    assert [topic for topic, _ in _read(node.birth(3))] == ["NBIRTH/n"]


def test_a_new_metric_makes_a_new_birth_and_history_says_so() -> None:
    node = EdgeNode("g", "n")
    node.connecting(1)
    late = _read(node.data("s.a", _values(x=1.0), 10, 20, historical=True))
    assert [topic for topic, _ in late] == ["DBIRTH/n/s.a", "DDATA/n/s.a"]
    assert late[0][1].metrics[0].value is None
    assert (late[1][1].metrics[0].historical, late[1][1].metrics[0].timestamp_ms) == (True, 10)
    assert [topic for topic, _ in _read(node.data("s.a", _values(x=2.0, y=1.0), 30, 30))] == ["DBIRTH/n/s.a"]


def test_metrics_of_a_device_are_bounded_and_counted() -> None:
    node = EdgeNode("g", "n")
    node.connecting(1)
    births: list[Out] = list(node.data("s.a", _values(**{f"m{at}": 1.0 for at in range(METRICS_A_DEVICE + 5)}), 1, 1))
    assert node.refused == 5
    assert len(_read(births)[0][1].metrics) == METRICS_A_DEVICE
