"""Sparkplug B payloads: the fields of `sparkplug_b.proto` that metrics of plain types need.

Reading takes any valid payload: what it does not know (templates, data sets, properties) is passed over.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from types import MappingProxyType
from typing import Any

from edgekit.errors import DataError
from edgekit.fleet.export import protobuf as pb

MAX_BYTES = 256 * 1024
MAX_METRICS = 10_000


class DataType(IntEnum):
    """Sparkplug's numbers of types."""

    INT8 = 1
    INT16 = 2
    INT32 = 3
    INT64 = 4
    UINT8 = 5
    UINT16 = 6
    UINT32 = 7
    UINT64 = 8
    FLOAT = 9
    DOUBLE = 10
    BOOLEAN = 11
    STRING = 12
    DATETIME = 13
    TEXT = 14
    UUID = 15
    BYTES = 17


Value = int | float | bool | str | bytes | None
_TEXT = (DataType.STRING, DataType.TEXT, DataType.UUID)
_SIGNED: Mapping[DataType | None, int] = MappingProxyType(  # kept in two's complement
    {DataType.INT8: 2**32, DataType.INT16: 2**32, DataType.INT32: 2**32, DataType.INT64: 2**64}
)
_SHORT = {DataType.INT8, DataType.INT16, DataType.INT32, DataType.UINT8, DataType.UINT16, DataType.UINT32}
_LONG = {DataType.INT64, DataType.UINT64, DataType.DATETIME}


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric; by name in births, by alias afterwards. A value of None is Sparkplug's null."""

    value: Value
    datatype: DataType | None = None
    name: str | None = None
    alias: int | None = None
    timestamp_ms: int | None = None
    historical: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Payload:
    """A payload; only a death has no `seq`."""

    timestamp_ms: int | None = None
    seq: int | None = None
    metrics: tuple[Metric, ...] = ()


def encode(payload: Payload) -> bytes:
    """Return the payload's bytes.

    Raises:
        DataError: if a metric has a value but no type.
    """
    parts = [] if payload.timestamp_ms is None else [pb.integer(1, payload.timestamp_ms)]
    parts += [pb.chunk(2, _metric(metric)) for metric in payload.metrics]
    if payload.seq is not None:
        parts.append(pb.integer(3, payload.seq))
    return b"".join(parts)


def _metric(metric: Metric) -> bytes:
    parts = [] if metric.name is None else [pb.text(1, metric.name)]
    for number, value in ((2, metric.alias), (3, metric.timestamp_ms), (4, metric.datatype)):
        if value is not None:
            parts.append(pb.integer(number, value))
    if metric.historical:
        parts.append(pb.integer(5, 1))
    parts.append(pb.integer(7, 1) if metric.value is None else _value(metric.value, metric.datatype))
    return b"".join(parts)


def _value(value: Value, datatype: DataType | None) -> bytes:
    kinds, written = _WRITTEN.get(datatype, ((), None)) if datatype is not None else ((), None)
    if written is None or not isinstance(value, kinds) or (isinstance(value, bool) and datatype != DataType.BOOLEAN):
        raise DataError(f"a metric of the type {datatype} cannot have the value {value!r:.80}")
    return written(value)


_NUMBER = (int, float)
_WRITTEN: Mapping[DataType, tuple[tuple[type, ...], Callable[[Any], bytes]]] = MappingProxyType(
    {
        **dict.fromkeys(_SHORT, ((int,), lambda value: pb.integer(10, value & 0xFFFF_FFFF))),
        **dict.fromkeys(_LONG, ((int,), lambda value: pb.integer(11, value))),
        DataType.FLOAT: (_NUMBER, lambda value: pb.single(12, value)),
        DataType.DOUBLE: (_NUMBER, lambda value: pb.double(13, value)),
        DataType.BOOLEAN: ((bool,), lambda value: pb.integer(14, int(value))),
        **dict.fromkeys(_TEXT, ((str,), lambda value: pb.text(15, value))),
        DataType.BYTES: ((bytes,), lambda value: pb.chunk(16, value)),
    }
)


def decode(data: bytes) -> Payload:
    """Read a payload of at most 256 KiB.

    Raises:
        DataError: if it is none, or too large.
    """
    if len(data) > MAX_BYTES:
        raise DataError(f"a Sparkplug payload has {len(data)} bytes, the limit is {MAX_BYTES}")
    timestamp_ms = seq = None
    metrics = []
    for number, value in pb.fields(data, MAX_METRICS):
        match number, value:
            case 1, int():
                timestamp_ms = value
            case 2, bytes():
                metrics.append(_read_metric(value))
            case 3, int():
                seq = value
    return Payload(timestamp_ms=timestamp_ms, seq=seq, metrics=tuple(metrics))


def _read_metric(data: bytes) -> Metric:
    found = dict(pb.fields(data, 64))  # the last of a field counts
    kind = found.get(4)
    datatype = DataType(kind) if isinstance(kind, int) and kind in set(DataType) else None
    name, alias, at_ms = found.get(1), found.get(2), found.get(3)
    return Metric(
        name=_text(name) if isinstance(name, bytes) else None,
        alias=alias if isinstance(alias, int) else None,
        timestamp_ms=at_ms if isinstance(at_ms, int) else None,
        datatype=datatype,
        historical=bool(found.get(5)),
        value=None if found.get(7) else _read_value(found, datatype),
    )


def _read_value(found: dict[int, int | bytes], datatype: DataType | None) -> Value:
    for number, read in _READ.items():
        value = found.get(number)
        if value is not None and isinstance(value, bytes) == (number in {15, 16}):
            plain = read(value)
            if datatype in _SIGNED and isinstance(plain, int):
                return plain - _SIGNED[datatype] if plain >= _SIGNED[datatype] // 2 else plain
            return plain
    return None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as exc:
        raise DataError("a Sparkplug payload has text that is no UTF-8") from exc


_READ: Mapping[int, Callable[[Any], Value]] = MappingProxyType(
    {10: int, 11: int, 12: pb.as_single, 13: pb.as_double, 14: bool, 15: _text, 16: bytes}
)
