"""The wire format of protocol buffers: as much of it as Prometheus' and Sparkplug's messages need.

A message is written field by field and read as a list of (number, value): varints and fixed widths as `int`, the rest
as `bytes`. What a number means is said by who asks.
"""

import math
import struct
from collections.abc import Iterable, Iterator

from edgekit.errors import DataError

VARINT, FIXED64, LENGTH, FIXED32 = 0, 1, 2, 5
_WIDEST = 10  # bytes of a varint of 64 bits
_U64 = 2**64 - 1


def varint(value: int) -> bytes:
    """Return an unsigned number of at most 64 bits; a negative one as its two's complement."""
    value &= _U64
    out = bytearray()
    while value > 0x7F:  # noqa: PLR2004  # seven bits a byte
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def zigzag(value: int) -> int:
    """Return a signed number as `sint32` and `sint64` have it: small when near 0."""
    return (value << 1) ^ (value >> 63)


def _key(number: int, kind: int) -> bytes:
    return varint(number << 3 | kind)


def integer(number: int, value: int) -> bytes:
    """Return a field of an unsigned number, enum or bool."""
    return _key(number, VARINT) + varint(value)


def signed(number: int, value: int) -> bytes:
    """Return a field of `sint32` or `sint64`."""
    return integer(number, zigzag(value))


def double(number: int, value: float) -> bytes:
    """Return a field of `double`."""
    return _key(number, FIXED64) + struct.pack("<d", value)


def single(number: int, value: float) -> bytes:
    """Return a field of `float`; what is too large for one is infinite."""
    try:
        packed_value = struct.pack("<f", value)
    except OverflowError:
        packed_value = struct.pack("<f", math.copysign(math.inf, value))
    return _key(number, FIXED32) + packed_value


def text(number: int, value: str) -> bytes:
    """Return a field of `string`; half a surrogate pair becomes `?`."""
    return chunk(number, value.encode("utf-8", "replace"))


def chunk(number: int, value: bytes) -> bytes:
    """Return a field of `bytes`, or of a message that is written."""
    return _key(number, LENGTH) + varint(len(value)) + value


def packed(number: int, values: Iterable[int]) -> bytes:
    """Return a field of `repeated sint64`, packed."""
    return chunk(number, b"".join([varint(zigzag(value)) for value in values]))


def fields(data: bytes, limit: int = 10_000) -> Iterator[tuple[int, int | bytes]]:
    """Yield number and value of each field of a message, at most `limit` of them.

    Raises:
        DataError: if it is no message, is cut off, or has more fields.
    """
    at = seen = 0
    while at < len(data):
        key, at = _varint(data, at)
        number, kind = key >> 3, key & 7
        seen += 1
        if not number or seen > limit:
            raise DataError("a protobuf message has a field without number, or too many fields")
        value: int | bytes
        match kind:
            case 0:
                value, at = _varint(data, at)
            case 1 | 5:
                width = 8 if kind == FIXED64 else 4
                value, at = int.from_bytes(_taken(data, at, width), "little"), at + width
            case 2:
                length, at = _varint(data, at)
                value, at = _taken(data, at, length), at + length
            case _:
                raise DataError(f"a protobuf message has a field of the unknown kind {kind}")
        yield number, value


def as_double(value: int) -> float:
    """Return a number of 64 fixed bits as the `double` it stands for."""
    found: float = struct.unpack("<d", value.to_bytes(8, "little"))[0]
    return found


def as_single(value: int) -> float:
    """Return a number of 32 fixed bits as the `float` it stands for."""
    found: float = struct.unpack("<f", (value & 0xFFFF_FFFF).to_bytes(4, "little"))[0]
    return found


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place in range(_WIDEST):
        if at >= len(data):
            raise DataError("a protobuf message is cut off")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value & _U64, at
    raise DataError("a protobuf message has a number of more than 64 bits")


def _taken(data: bytes, at: int, length: int) -> bytes:
    if length > len(data) - at:
        raise DataError("a protobuf message is cut off")
    return data[at : at + length]
