"""From a payload to a struct: the size first, then types and limits, then what a type cannot say."""

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import msgspec

from edgekit.fleet.wire import structs
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import MAX_MESSAGE_BYTES, Kind
from edgekit_agent.protocol.codec import MAX_ITEMS

Wire = structs.State | structs.Info | structs.Report | structs.Event | structs.Reported | structs.Result

KINDS: Mapping[Kind, type[Any]] = MappingProxyType(
    {
        Kind.STATE: structs.State,
        Kind.INFO: structs.Info,
        Kind.TELE: structs.Report,
        Kind.EVENT: structs.Event,
        Kind.REPORTED: structs.Reported,
        Kind.RESULT: structs.Result,
    }
)
"""What a host listens to."""

_DECODERS = {kind: msgspec.json.Decoder(struct) for kind, struct in KINDS.items()}
_REPORT = msgspec.json.Decoder(structs.Report)
_TABLE = msgspec.json.Decoder(dict[str, Any])
_NUL = b"\\u0000"
_ENCODER = msgspec.json.Encoder()


def decode(kind: Kind, payload: bytes) -> Wire:
    """Decode a device's message of at most 256 KiB.

    Raises:
        ProtocolError: on an oversized, truncated or wrong message, or a kind that no device sends to the host.
    """
    if kind is Kind.TELE:
        return decode_report(payload)
    decoder = _DECODERS.get(kind)
    if decoder is None:
        raise ProtocolError(f"'{kind}' is no message of a device to the host")
    try:
        message: Wire = decoder.decode(_sized(payload))
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"{kind}: {exc}") from exc
    return message


def decode_report(payload: bytes) -> structs.Report:
    """Decode a report; its statistics stay raw JSON.

    Raises:
        ProtocolError: on an oversized, truncated or wrong report.
    """
    try:
        report = _REPORT.decode(_sized(payload))
        latency = report.latency
        for one in (latency.pre, latency.infer, latency.post, latency.e2e, latency.queue):
            if one is not None and (one.minimum is None or one.maximum is None) and (one.zeros or any(one.counts)):
                raise ProtocolError("tele: a histogram's 'min' or 'max' is missing")
        statistics = report.statistics
        # a member takes five bytes at least; `null` and lists are no tables
        if len(statistics) > 5 * MAX_ITEMS or bytes(memoryview(statistics)[:1]) != b"{":
            table = _TABLE.decode(statistics)
            if len(table) > MAX_ITEMS:
                raise ProtocolError(f"tele: 'stat' has more than {MAX_ITEMS} members")
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as exc:
        raise ProtocolError(f"tele: {exc}") from exc
    if not math.isfinite(report.window_s):
        raise ProtocolError("tele: 'win_s' is not a finite number")
    return report


def document(message: Any) -> str:  # noqa: ANN401  # a struct, or JSON values
    """Return a message, or any JSON values, as compact JSON text under the wire's names."""
    return _ENCODER.encode(message).decode()


def _sized(payload: bytes) -> bytes:
    if len(payload) > MAX_MESSAGE_BYTES:
        raise ProtocolError(f"a message has {len(payload)} bytes, the limit is {MAX_MESSAGE_BYTES}")
    if _NUL in payload:
        raise ProtocolError("a message has text with a NUL, which no store takes")
    return payload
