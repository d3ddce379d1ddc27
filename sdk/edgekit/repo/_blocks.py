"""Where a target is cut into blocks: by its content, so that what is inserted moves no cut behind it.

A cut falls where a rolling hash of the last 32 bytes has `_BITS` zero bits (the gear hash of Xia et al., "FastCDC",
USENIX ATC 2016), at least `MIN_BYTES` and at most `MAX_BYTES` after the last. The sizes are measured: docs/adr/0026.
"""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from edgekit_agent.protocol import BlockIndex

MIN_BYTES = 1 << 10
MAX_BYTES = 16 << 10
_BITS = 11  # a cut every 2 KiB beyond the least, on average
_WINDOW_DOUBLINGS = 5  # 2**5 bytes: each shifts the ones before it by one bit, and the hash has 32
_WINDOW = 1 << _WINDOW_DOUBLINGS
_SLAB = 4 << 20

# A number a byte value; a hash of the value, so that every version on every machine cuts alike.
_GEAR = np.array(
    [int.from_bytes(hashlib.sha256(bytes([value])).digest()[:4], "little") for value in range(256)], np.uint32
)


def index_of(path: Path) -> BlockIndex:
    """Return the blocks of a file.

    Raises:
        OSError: if it cannot be read.
    """
    entries = []
    with path.open("rb") as file:
        at = 0
        for end in _cuts(path):
            data = file.read(end - at)
            entries.append((len(data), hashlib.sha256(data).digest()))
            at = end
    return BlockIndex(entries)


def _cuts(path: Path) -> Iterator[int]:
    """Give where blocks end."""
    last, size = 0, path.stat().st_size
    for candidate in (*_candidates(path), size):
        while candidate - last > MAX_BYTES:
            last += MAX_BYTES
            yield last
        if candidate - last >= MIN_BYTES or (candidate == size and candidate > last):
            last = candidate
            yield last


def _candidates(path: Path) -> Iterator[int]:
    """Give every place behind which the hash of the last bytes has its zeros."""
    before = np.zeros(0, np.uint8)
    at = 0
    with path.open("rb") as file:
        while slab := file.read(_SLAB):
            data = np.concatenate([before, np.frombuffer(slab, np.uint8)])
            found = np.flatnonzero(_hashes(data) >> np.uint32(32 - _BITS) == 0) + 1
            yield from (int(place) for place in at - len(before) + found[found > len(before)])
            before = data[-(_WINDOW - 1) :]
            at += len(slab)


def _hashes(data: "np.ndarray[tuple[int], np.dtype[np.uint8]]") -> "np.ndarray[tuple[int], np.dtype[np.uint32]]":
    """Return sum(GEAR[byte k back] << k) over the window for each place, in uint32 (modulo 2**32).

    A window of twice the length is one behind the other: each pass doubles it.
    """
    hashes = _GEAR[data]
    for doubling in range(_WINDOW_DOUBLINGS):
        width = 1 << doubling
        wider = hashes.copy()
        wider[width:] += hashes[:-width] << np.uint32(width)
        hashes = wider
    return hashes
