"""Packed histograms and their merges, beside the plain histogram of all values."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.errors import DataError
from edgekit.fleet.store.merging import merge, merge_packed
from edgekit.fleet.store.packing import BUCKET_LIMIT, pack, pack_wire, unpack
from edgekit_agent.protocol import ExpHistogram

VALUES = st.floats(min_value=0.0, max_value=1e4, allow_nan=False).map(lambda value: 0.0 if value < 1e-12 else value)
GROUPS = st.lists(st.tuples(st.lists(VALUES, max_size=40), st.integers(0, 3), st.integers(-2, 6)), max_size=12)
BOUND = 2 ** (2**-4 / 2) - 1  # of a bucket's middle, at scale 4


def _buckets(values: Sequence[float]) -> int:
    """How many buckets lie between the least and the most at the finest scale."""
    counts = ExpHistogram.of(values, 6).counts
    return max(counts) - min(counts) + 1 if counts else 0


@given(values=st.lists(VALUES, max_size=60), scale=st.integers(-4, 6))
def test_what_is_packed_comes_back(values: list[float], scale: int) -> None:
    histogram = ExpHistogram.of(values, scale)
    blob = pack(histogram)
    assert (blob is None) == (not values)
    if blob is not None:
        found = unpack(blob)
        assert found == histogram.at_scale(found.scale)
        assert found.scale >= min(scale, 4)


@settings(deadline=None)
@given(parts=GROUPS)
def test_merges_are_those_of_all_values_whatever_the_scales(parts: Sequence[tuple[list[float], int, int]]) -> None:
    blobs = [pack(ExpHistogram.of(values, scale)) for values, _, scale in parts]
    merged = merge(blobs, [group for _, group, _ in parts], 4)
    for number, found in enumerate(merged):
        mine = [(values, scale) for values, group, scale in parts if group == number and values]
        if mine:
            # coarsened in steps or at once: the bucket of a value at the coarsest scale is the same
            expected = ExpHistogram(min(scale for _, scale in mine))
            for values, scale in mine:
                expected.merge(ExpHistogram.of(values, scale))
            # what has more buckets than a row may is kept at a coarser scale
            assert found == expected.at_scale(found.scale)
            everything = [value for values, _ in mine for value in values]
            assert found.scale == expected.scale or _buckets(everything) > BUCKET_LIMIT
        else:
            assert found.count == 0


@settings(deadline=None)
@given(
    parts=st.lists(st.lists(VALUES.filter(bool), min_size=1, max_size=50), min_size=1, max_size=10), q=st.floats(0, 1)
)
def test_merged_percentiles_are_those_of_the_concatenated_values_within_the_bound(
    parts: list[list[float]], q: float
) -> None:
    blobs = [pack(ExpHistogram.of(values, 4)) for values in parts]
    (merged,) = merge(blobs, [0] * len(blobs), 1)
    everything = sorted(value for values in parts for value in values)
    exact = everything[max(1, math.ceil(q * len(everything))) - 1]
    assert abs(merged.quantile(q) - exact) <= (BOUND + 1e-9) * exact


def test_counts_take_the_bytes_they_need_and_wide_sums_are_exact() -> None:
    large = 2**52
    blob = pack_wire(4, 3, [1, 255, 70_000, large], 0, 1.0, 1.0, 2.0)
    assert blob is not None
    assert unpack(blob).counts == {3: 1, 4: 255, 5: 70_000, 6: large}
    (merged,) = merge([blob] * 3, [0, 0, 0], 1)
    assert merged.counts == {3: 3, 4: 765, 5: 210_000, 6: 3 * large}


@pytest.mark.parametrize("scale", [8, 4, -4])
@pytest.mark.parametrize("offset", [-(2**20), 2**20 - 5])
def test_buckets_that_nothing_measured_can_need_stay_bounded(scale: int, offset: int) -> None:
    blob = pack_wire(scale, offset, [1, 2, 3], 0, 1.0, 1.0, 2.0)
    usual = pack_wire(scale, 0, [1], 0, 1.0, 1.0, 2.0)
    (merged,) = merge([blob, usual], [0, 0], 1)
    assert merged.count == 7
    again = pack(merged)
    assert again is not None
    assert len(again) <= 40 + 8 * BUCKET_LIMIT
    assert merge_packed([again, blob], [0, 0], 1)[0] is not None


def test_damaged_bytes_are_told() -> None:
    blob = pack(ExpHistogram.of([1.0, 2.0], 4))
    assert blob is not None
    for damaged in (b"x", blob[:-1], blob[:41]):
        with pytest.raises(DataError, match="damaged histogram"):
            unpack(damaged)
        with pytest.raises(DataError, match="damaged histogram"):
            merge([damaged, blob], [0, 0], 1)
