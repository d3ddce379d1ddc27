"""Many packed histograms added into groups at once: exact, whatever their scales."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.fleet.store.packing import BUCKET_LIMIT, COUNT_LIMIT, HEAD, WIDTHS, pack, unpack
from edgekit_agent.protocol import ExpHistogram

_HEADS = np.dtype(
    [
        ("scale", "<i1"),
        ("width", "u1"),
        ("buckets", "<u2"),
        ("first", "<i4"),
        ("zeros", "<u8"),
        ("total", "<f8"),
        ("minimum", "<f8"),
        ("maximum", "<f8"),
    ]
)
_Whole = npt.NDArray[np.int64]
_Counts = npt.NDArray[np.uint64]
_BIAS, _SPAN = 1 << 15, 1 << 16  # bucket numbers lie well within: packing.OCTAVES at the finest scale


def merge(blobs: Sequence[bytes | None], groups: Sequence[int], count: int) -> list[ExpHistogram]:
    """Return the histogram of each group.

    Args:
        blobs: packed histograms; None is an empty one.
        groups: which group each belongs to.
        count: how many groups there are.

    Raises:
        DataError: if something is no packed histogram.
    """
    return [unpack(blob) for blob in merge_packed(blobs, groups, count)]


def merge_packed(blobs: Sequence[bytes | None], groups: Sequence[int], count: int) -> list[bytes | None]:
    """Return the packed histogram of each group; what is alone in its group stays as it is.

    Raises:
        DataError: if something is no packed histogram.
    """
    result: list[bytes | None] = [None] * count
    members = [0] * count
    for blob, group in zip(blobs, groups, strict=True):
        if blob is not None:
            members[group] += 1
            result[group] = blob
    shared = [
        (blob, group) for blob, group in zip(blobs, groups, strict=True) if blob is not None and members[group] > 1
    ]
    if not shared:
        return result
    numbers = {group: at for at, group in enumerate(dict.fromkeys(group for _, group in shared))}
    of = np.fromiter((numbers[group] for _, group in shared), np.int64, len(shared))
    for group, merged in zip(numbers, _merged([blob for blob, _ in shared], of, len(numbers)), strict=True):
        result[group] = merged
    return result


def _merged(blobs: list[bytes], of: _Whole, count: int) -> list[bytes | None]:
    """Merge histograms into groups that all have some."""
    if min(map(len, blobs)) < HEAD.size:
        raise DataError("the store has a damaged histogram")
    heads = np.frombuffer(b"".join([blob[: HEAD.size] for blob in blobs]), _HEADS)
    scales = np.full(count, 127, np.int64)
    np.minimum.at(scales, of, heads["scale"].astype(np.int64))
    zeros, totals = np.zeros(count, np.uint64), np.zeros(count)
    least, most = np.full(count, np.inf), np.full(count, -np.inf)
    np.add.at(zeros, of, heads["zeros"])
    np.add.at(totals, of, heads["total"])
    np.minimum.at(least, of, heads["minimum"])
    np.maximum.at(most, of, heads["maximum"])
    firsts, bodies = _dense(*_elements(blobs, heads, of, scales), count)
    parts = zip(
        scales.tolist(), firsts, bodies, zeros.tolist(), totals.tolist(), least.tolist(), most.tolist(), strict=True
    )
    return [_pack(*part) for part in parts]


def _elements(blobs: list[bytes], heads: "npt.NDArray[np.void]", of: _Whole, scales: _Whole) -> tuple[_Whole, _Counts]:
    """Return for each bucket of all histograms group and bucket as one number, and the count."""
    shifts = heads["scale"].astype(np.int64) - scales[of]
    keys: list[_Whole] = []
    counts: list[_Counts] = []
    for width, _, _ in WIDTHS:
        rows = np.flatnonzero(heads["width"] == width)
        if not rows.size:
            continue
        body = b"".join([blobs[row][HEAD.size :] for row in rows.tolist()])
        lengths = heads["buckets"][rows].astype(np.int64)
        if len(body) != int(lengths.sum()) * width:
            raise DataError("the store has a damaged histogram")
        ends = np.cumsum(lengths)
        within = np.arange(ends[-1]) - np.repeat(ends - lengths, lengths)
        buckets = np.repeat(heads["first"][rows].astype(np.int64), lengths) + within
        keys.append(np.repeat(of[rows], lengths) * _SPAN + (buckets >> np.repeat(shifts[rows], lengths)) + _BIAS)
        counts.append(np.frombuffer(body, f"<u{width}").astype(np.uint64))
    return np.concatenate(keys), np.concatenate(counts)


def _dense(keys: _Whole, counts: _Counts, groups: int) -> tuple[list[int], list[_Counts]]:
    """Return of each group its first bucket, and the counts from there on."""
    owners, buckets = keys // _SPAN, keys % _SPAN - _BIAS
    first = np.full(groups, _BIAS, np.int64)
    last = np.full(groups, -_BIAS, np.int64)
    np.minimum.at(first, owners, buckets)
    np.maximum.at(last, owners, buckets)
    lengths = np.maximum(0, last - first + 1)
    begins = np.concatenate(([0], np.cumsum(lengths)))
    sums = np.zeros(int(begins[-1]), np.uint64)
    np.add.at(sums, begins[owners] + buckets - first[owners], counts)
    np.minimum(sums, COUNT_LIMIT, out=sums)
    borders = begins.tolist()
    return first.tolist(), [sums[begin:end] for begin, end in pairwise(borders)]


def _pack(  # noqa: PLR0913, PLR0917  # the parts of a histogram
    scale: int, first: int, counts: _Counts, zeros: int, total: float, least: float, most: float
) -> bytes | None:
    zeros = min(zeros, COUNT_LIMIT)
    if not counts.size:
        return HEAD.pack(scale, 1, 0, 0, zeros, total, least, most) if zeros else None
    if counts.size > BUCKET_LIMIT:
        wide = ExpHistogram(scale)
        sparse = {first + at: int(counts[at]) for at in np.flatnonzero(counts).tolist()}
        wide.add_counts(sparse, zeros=zeros, total=total, minimum=least, maximum=most)
        return pack(wide)
    highest = int(counts.max())
    width = next(width for width, _, limit in WIDTHS if highest <= limit)
    return (
        HEAD.pack(scale, width, counts.size, first, zeros, total, least, most) + counts.astype(f"<u{width}").tobytes()
    )
