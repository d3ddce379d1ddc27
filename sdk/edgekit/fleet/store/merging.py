"""Many packed histograms added into groups at once: exact, whatever their scales."""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from edgekit.errors import DataError
from edgekit.fleet.store.packing import COUNT_LIMIT, HEAD, WIDTHS
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


def merge(blobs: Sequence[bytes | None], groups: Sequence[int] | _Whole, count: int) -> list[ExpHistogram]:
    """Return the histogram of each group.

    Args:
        blobs: packed histograms; None is an empty one.
        groups: which group each belongs to.
        count: how many groups there are.

    Raises:
        DataError: if something is no packed histogram.
    """
    here = [at for at, blob in enumerate(blobs) if blob is not None]
    if not here:
        return [ExpHistogram() for _ in range(count)]
    kept = [blob for blob in blobs if blob is not None]
    of = np.asarray(groups, np.int64)[here]
    heads = np.frombuffer(b"".join([blob[: HEAD.size] for blob in kept]), _HEADS)
    if len(heads) != len(kept):
        raise DataError("the store has a damaged histogram")
    scales = np.full(count, 127, np.int64)
    np.minimum.at(scales, of, heads["scale"].astype(np.int64))
    keys, counts = _elements(kept, heads, of, scales)
    result = _empty(scales)
    zeros = np.zeros(count, np.uint64)
    np.add.at(zeros, of, heads["zeros"])
    totals, least, most = np.zeros(count), np.full(count, np.inf), np.full(count, -np.inf)
    np.add.at(totals, of, heads["total"])
    np.minimum.at(least, of, heads["minimum"])
    np.maximum.at(most, of, heads["maximum"])
    sparse = _by_group(keys, counts, count)
    for group in np.unique(of).tolist():
        result[group].add_counts(
            sparse[group],
            zeros=min(int(zeros[group]), COUNT_LIMIT),
            total=float(totals[group]),
            minimum=float(least[group]),
            maximum=float(most[group]),
        )
    return result


def _empty(scales: _Whole) -> list[ExpHistogram]:
    return [ExpHistogram(scale) if scale != 127 else ExpHistogram() for scale in scales.tolist()]  # noqa: PLR2004  # nothing there


_BIAS, _SPAN = 1 << 15, 1 << 16  # bucket numbers lie well within: packing.OCTAVES at the finest scale


def _elements(
    blobs: list[bytes], heads: "npt.NDArray[np.void]", of: _Whole, scales: _Whole
) -> tuple[_Whole, npt.NDArray[np.uint64]]:
    """Return for each bucket of all histograms group and bucket as one number, and the count."""
    shifts = heads["scale"].astype(np.int64) - scales[of]
    keys: list[_Whole] = []
    counts: list[npt.NDArray[np.uint64]] = []
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
        buckets = (np.repeat(heads["first"][rows].astype(np.int64), lengths) + within) >> np.repeat(
            shifts[rows], lengths
        )
        keys.append(np.repeat(of[rows], lengths) * _SPAN + buckets + _BIAS)
        counts.append(np.frombuffer(body, f"<u{width}").astype(np.uint64))
    return np.concatenate(keys), np.concatenate(counts)


def _by_group(keys: _Whole, counts: npt.NDArray[np.uint64], groups: int) -> list[dict[int, int]]:
    """Add what has the same key, and part it by group."""
    sparse: list[dict[int, int]] = [{} for _ in range(groups)]
    used = counts > 0
    keys, counts = keys[used], counts[used]
    if not keys.size:
        return sparse
    order = np.argsort(keys, kind="stable")
    keys, counts = keys[order], counts[order]
    begins = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    sums = np.add.reduceat(counts, begins)
    unique = keys[begins]
    owners, buckets = unique // _SPAN, unique % _SPAN - _BIAS
    borders = np.flatnonzero(np.concatenate(([True], owners[1:] != owners[:-1], [True])))
    names, values = buckets.tolist(), sums.tolist()
    for begin, end in zip(borders[:-1].tolist(), borders[1:].tolist(), strict=True):
        sparse[int(owners[begin])] = dict(zip(names[begin:end], values[begin:end], strict=True))
    return sparse
