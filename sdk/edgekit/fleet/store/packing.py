"""A histogram as a few bytes in a row: head, then each bucket's count in 1, 2, 4 or 8 bytes, whichever holds all.

Head (little endian): scale, bytes a count, buckets, first bucket, zeros, sum, least, most. Empty is None.
"""

import struct
from collections.abc import Sequence
from typing import Final

from edgekit.errors import DataError
from edgekit_agent.protocol import ExpHistogram

HEAD = struct.Struct("<bBHiQddd")
WIDTHS: Final = ((1, "B", 0xFF), (2, "H", 0xFFFF), (4, "I", 0xFFFF_FFFF), (8, "Q", 2**64 - 1))
LETTERS: Final = {width: letter for width, letter, _ in WIDTHS}
# Time measured in seconds lies between 2**-64 and 2**64: what is made up beyond counts for the last bucket. A finer
# histogram than scale 4 that needs more buckets is kept at a coarser scale, exact there.
OCTAVES = 64
BUCKET_LIMIT = 2048
COUNT_LIMIT = 2**63 - 1


def pack_wire(  # noqa: PLR0913, PLR0917  # the parts of a histogram
    scale: int, offset: int, counts: Sequence[int], zeros: int, total: float, minimum: float, maximum: float
) -> bytes | None:
    """Pack what came over the wire: dense counts from a first bucket on."""
    if not counts:
        return HEAD.pack(scale, 1, 0, 0, zeros, total, minimum, maximum) if zeros else None
    border = int(OCTAVES * 2.0**scale)
    if not (counts[0] and counts[-1] and -border <= offset <= border - len(counts)) or len(counts) > BUCKET_LIMIT:
        sparse = {offset + at: count for at, count in enumerate(counts) if count}
        return _pack_sparse(scale, sparse, zeros, total, minimum, maximum)
    try:
        body = bytes(counts)
        width = 1
    except ValueError:
        width, letter = _width(max(counts))
        body = struct.pack(f"<{len(counts)}{letter}", *counts)
    return HEAD.pack(scale, width, len(counts), offset, zeros, total, minimum, maximum) + body


def pack(histogram: ExpHistogram) -> bytes | None:
    """Pack a histogram."""
    return _pack_sparse(
        histogram.scale, histogram.counts, histogram.zeros, histogram.total, histogram.minimum, histogram.maximum
    )


def _pack_sparse(  # noqa: PLR0913, PLR0917  # the parts of a histogram
    scale: int, counts: dict[int, int], zeros: int, total: float, minimum: float, maximum: float
) -> bytes | None:
    zeros = min(zeros, COUNT_LIMIT)
    if not counts:
        return HEAD.pack(scale, 1, 0, 0, zeros, total, minimum, maximum) if zeros else None
    first, last = min(counts), max(counts)
    border = int(OCTAVES * 2.0**scale)
    if first < -border or last >= border:
        counts = _clamped(counts, border)
        first, last = min(counts), max(counts)
    while last - first >= BUCKET_LIMIT:
        scale, first, last = scale - 1, first >> 1, last >> 1
        halved: dict[int, int] = {}
        for index, count in counts.items():
            halved[index >> 1] = halved.get(index >> 1, 0) + count
        counts = halved
    dense = [min(counts.get(index, 0), COUNT_LIMIT) for index in range(first, last + 1)]
    width, letter = _width(max(dense))
    head = HEAD.pack(scale, width, len(dense), first, zeros, total, minimum, maximum)
    return head + struct.pack(f"<{len(dense)}{letter}", *dense)


def unpack(blob: bytes | None) -> ExpHistogram:
    """Return the histogram of a column.

    Raises:
        DataError: if the bytes are none.
    """
    if blob is None:
        return ExpHistogram()
    try:
        scale, width, buckets, first, zeros, total, minimum, maximum = HEAD.unpack_from(blob)
        counts = struct.unpack_from(f"<{buckets}{LETTERS[width]}", blob, HEAD.size)
    except (struct.error, KeyError) as exc:
        raise DataError("the store has a damaged histogram") from exc
    histogram = ExpHistogram(scale)
    sparse = {first + at: count for at, count in enumerate(counts) if count}
    histogram.add_counts(sparse, zeros=zeros, total=total, minimum=minimum, maximum=maximum)
    return histogram


def _clamped(counts: dict[int, int], border: int) -> dict[int, int]:
    clamped: dict[int, int] = {}
    for index, count in counts.items():
        within = min(max(index, -border), border - 1)
        clamped[within] = clamped.get(within, 0) + count
    return clamped


def _width(most: int) -> tuple[int, str]:
    return next((width, letter) for width, letter, limit in WIDTHS if most <= limit)
