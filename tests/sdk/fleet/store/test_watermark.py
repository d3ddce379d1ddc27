"""Watermarks against a plain set of numbers, and clocks over hours."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.fleet.store.clocks import LATEST_MS, Clock
from edgekit.fleet.store.watermark import RANGE_LIMIT, Watermark
from tests.sdk.fleet.store.cases import NOW_MS

STEPS = st.lists(st.one_of(st.integers(1, 40), st.tuples(st.just("low"), st.integers(-2, 45))), max_size=80)


@given(steps=STEPS)
def test_the_watermark_is_the_highest_number_with_nothing_missing_below(steps: list[object]) -> None:
    mark, stored, lost = Watermark(), set[int](), 0
    for step in steps:
        if isinstance(step, tuple):
            lost = max(lost, step[1] - 1)
            mark.raise_below(step[1])
        elif isinstance(step, int):
            assert (step in mark) == (step in stored or step <= mark.seq)
            if step not in mark:
                mark.add(step)
            stored.add(step)
        expected = lost
        while expected + 1 in stored:
            expected += 1
        assert mark.seq == expected
        assert all(number in mark for number in stored)
        mark = Watermark.load(mark.seq, mark.ranges)


def test_gaps_are_bounded() -> None:
    mark = Watermark()
    for number in range(RANGE_LIMIT):
        assert not mark.full_for(10 + 2 * number)
        mark.add(10 + 2 * number)
    assert mark.full_for(100_000)
    assert not mark.full_for(1)


@pytest.mark.parametrize("off_ms", [0, -NOW_MS + 5000, 3_600_000], ids=["right", "never set", "an hour ahead"])
def test_live_reports_are_placed_when_they_came(off_ms: int) -> None:
    clock = Clock()
    for second in range(0, 600, 10):
        now = NOW_MS + 1000 * second
        assert clock.live(now + off_ms, now) == now
    assert clock.late(NOW_MS + 60_000 + off_ms, NOW_MS + 10**6, None) == NOW_MS + 60_000


def test_a_live_report_that_waited_in_the_broker_is_placed_when_it_was_made() -> None:
    clock = Clock()
    clock.live(NOW_MS, NOW_MS)
    back = NOW_MS + 300_000
    placed = [clock.live(NOW_MS + 1000 * second, back) for second in range(10, 310, 10)]
    assert placed == [NOW_MS + 1000 * second for second in range(10, 310, 10)]


def test_a_clock_that_was_set_is_followed_after_one_report() -> None:
    clock = Clock()
    clock.live(NOW_MS, NOW_MS)
    day = 86_400_000
    first = clock.live(NOW_MS + 10_000 - day, NOW_MS + 10_000)
    assert NOW_MS + 10_000 - day <= first <= NOW_MS + 10_000
    assert clock.live(NOW_MS + 20_000 - day, NOW_MS + 20_000) == NOW_MS + 20_000


def test_no_time_is_in_the_future_or_farther_back_than_reports_are_kept() -> None:
    assert Clock().late(5, NOW_MS, None) == NOW_MS  # a clock that was never set says nothing
    assert Clock().late(NOW_MS + 10**9, NOW_MS, None) == NOW_MS
    assert Clock().late(NOW_MS - 5000, NOW_MS, None) == NOW_MS - 5000
    assert Clock(add_ms=0).late(0, NOW_MS, None) == NOW_MS - LATEST_MS
    assert Clock().late(NOW_MS - 5000, NOW_MS, 2000) == NOW_MS - 3000
