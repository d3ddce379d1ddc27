"""The bytes of a spool: records one after the other, each with its length and CRC-32, so that a torn one is seen.

A record stands alone, and after a damaged place the next whole one is found by its mark. All numbers are little-endian:

| bytes | what |
|---|---|
| 4 | mark `f5 45 4b 31`, whose first byte is in no UTF-8 text |
| 4 | length of the body |
| 4 | CRC-32 of that length and the body |
| body: 8, 8, 8 | sequence number; steady clock and time since 1970, ms, when the report was made |
| body: 16, 1 | the kernel's boot id; length of the agent's boot id |
| body: rest | the agent's boot id, and the report as it goes over the wire |
"""

import struct
import zlib
from dataclasses import dataclass

MARK = b"\xf5EK1"
MOST_BODY_BYTES = 512 * 1024
MOST_FALSE_MARKS = 64
KERNEL_BYTES = 16
_HEAD = struct.Struct("<4sII")
_BODY = struct.Struct(f"<QQQ{KERNEL_BYTES}sB")
_LARGEST = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """A report as it waits: (boot, seq) identifies it; the rest says how old it is."""

    boot: str
    seq: int
    steady_ms: int
    wall_ms: int
    kernel: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Found:
    """A whole record and the bytes it takes."""

    record: Record
    offset: int
    size: int


def encode(record: Record) -> bytes:
    """Return a record's bytes.

    Raises:
        ValueError: if a number or text is too large for its place.
    """
    boot = record.boot.encode()
    try:
        fixed = _BODY.pack(record.seq, record.steady_ms, record.wall_ms, record.kernel, len(boot))
    except struct.error as exc:
        raise ValueError(f"report {record.seq} of boot '{record.boot[:80]}' has no record: {exc}") from exc
    body = fixed + boot + record.payload
    if len(body) > MOST_BODY_BYTES:
        raise ValueError(f"report {record.seq} has {len(body)} bytes, the limit of a record is {MOST_BODY_BYTES}")
    return _HEAD.pack(MARK, len(body), _crc(body)) + body


def decode(data: bytes, offset: int = 0) -> Found | None:
    """Return the record that begins at an offset, or None where there is no whole one."""
    if len(data) - offset < _HEAD.size + _BODY.size:
        return None
    mark, size, crc = _HEAD.unpack_from(data, offset)
    start = offset + _HEAD.size
    if mark != MARK or not _BODY.size <= size <= min(MOST_BODY_BYTES, len(data) - start):
        return None
    body = data[start : start + size]
    if crc != _crc(body):
        return None
    seq, steady_ms, wall_ms, kernel, length = _BODY.unpack_from(body)
    try:
        boot = body[_BODY.size : _BODY.size + length].decode()
    except UnicodeDecodeError:
        return None
    if max(seq, steady_ms, wall_ms) > _LARGEST or _BODY.size + length > size:
        return None
    record = Record(
        boot=boot,
        seq=seq,
        steady_ms=steady_ms,
        wall_ms=wall_ms,
        kernel=kernel,
        payload=body[_BODY.size + length :],
    )
    return Found(record, offset, _HEAD.size + size)


def scan(data: bytes) -> tuple[list[Found], int]:
    """Return the whole records in order, of one boot and rising, and how many are lost at least.

    Each damaged place counts as what is missing in the sequence there, or as one. After 64 marks with nothing whole
    behind them the rest is given up, so that no file takes long.
    """
    found: list[Found] = []
    lost = at = false_marks = 0
    damaged = False
    while at < len(data):
        one = decode(data, at)
        if one is not None and (not found or _follows(found[-1].record, one.record)):
            if damaged:
                lost += max(1, one.record.seq - found[-1].record.seq - 1) if found else 1
                damaged = False
            found.append(one)
            at += one.size
            continue
        damaged = True
        false_marks += 1
        at = data.find(MARK, at + 1)
        if at < 0 or false_marks > MOST_FALSE_MARKS:
            break
    return found, lost + damaged


def _follows(last: Record, one: Record) -> bool:
    return one.boot == last.boot and one.seq > last.seq


def _crc(body: bytes) -> int:
    return zlib.crc32(body, zlib.crc32(struct.pack("<I", len(body))))
