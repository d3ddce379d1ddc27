"""How much of a device is taken: bounds that hold for any device, and that no honest one meets."""

import time
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.fleet.allowance import KEYS, TOLD_LIMIT, TOLD_S, Allowance, Allowances, Limits, Noisy, cost
from edgekit.fleet.service.settings import DEVICE_BURST, DEVICE_RATE
from edgekit_agent.config import TelemetryConfig
from edgekit_agent.protocol import MAX_MESSAGE_BYTES

DEFAULT = Limits(rate=DEVICE_RATE, burst=DEVICE_BURST)
SMALL = Limits(rate=5.0, burst=20.0)


def passes(one: Allowance, price: float, now_s: float) -> bool:
    one.left -= price
    return one.left >= 0 or one.renewed(price, now_s)


@settings(deadline=None)
@given(
    st.lists(st.tuples(st.floats(0.0, 3.0), st.integers(1, 129)), max_size=300), st.floats(0.1, 50.0), st.floats(1, 200)
)
def test_nobody_gets_more_than_the_burst_and_the_rate(
    messages: list[tuple[float, int]], rate: float, burst: float
) -> None:
    now_s, taken, one = 0.0, 0, Allowance(Limits(rate=rate, burst=burst), 0.0)
    for gap_s, price in messages:
        now_s += gap_s
        taken += price if passes(one, price, now_s) else 0
        # one message may be larger than all there is: it passes when everything has gathered
        assert taken <= burst + rate * now_s + 129


@settings(deadline=None)
@given(st.lists(st.floats(0.2, 30.0), min_size=1, max_size=400))
def test_who_keeps_to_the_rate_is_never_held_up(gaps: list[float]) -> None:
    now_s, one = 0.0, Allowance(SMALL, 0.0)
    for gap_s in gaps:
        now_s += gap_s
        assert passes(one, 1, now_s)


def test_who_is_beyond_gets_a_second_of_messages_in_a_run() -> None:
    one = Allowance(SMALL, 0.0)
    answers = [passes(one, 1, number / 20) for number in range(400)]
    assert all(answers[:20])
    runs = sum(before != after for before, after in pairwise(answers))
    assert runs <= 40
    assert 5.0 * 20 <= sum(answers) <= 20 + 5.0 * 20


def test_a_rate_of_nothing_is_no_limit() -> None:
    one = Allowance(Limits(rate=0.0, burst=1.0), 0.0)
    assert all(passes(one, 129, 0.0) for _ in range(10_000))


def test_the_defaults_let_a_whole_spool_of_the_usual_size_pass_at_once() -> None:
    telemetry = TelemetryConfig()
    assert cost(b"x" * MAX_MESSAGE_BYTES) <= 200
    one = Allowance(DEFAULT, 0.0)
    size = 600  # the least that a report with its record takes
    count = int(telemetry.spool_mb * 1e6 / size)
    assert all(passes(one, cost(b"x" * size), 0.0) for _ in range(count))


def test_each_has_its_own_and_very_many_are_forgotten() -> None:
    limits = Allowances[int](Limits(rate=1.0, burst=1.0))
    assert limits.passes(0, b"")
    assert not limits.passes(0, b"")
    assert limits.passes(1, b"")
    for key in range(2, KEYS + 2):
        limits.passes(key, b"")
    assert limits.passes(0, b"")


def test_the_noisy_are_told_every_few_minutes_and_not_all_of_them() -> None:
    noisy, now_s = Noisy[int](), time.monotonic()
    assert noisy.due(now_s) == []
    for key in range(TOLD_LIMIT + 5):
        for _ in range(key + 1):
            noisy.add(key)
    told = noisy.due(now_s)
    assert [(one.key, one.count, one.others) for one in told][:2] == [(14, 15, 5), (13, 14, 5)]
    assert len(told) == TOLD_LIMIT
    noisy.add(14)
    noisy.add(99)
    assert [one.key for one in noisy.due(now_s + 2)] == [99]
    noisy.add(14)
    assert [(one.key, one.count) for one in noisy.due(now_s + TOLD_S + 1)] == [(14, 2)]


@pytest.mark.parametrize("size", [0, 2047, 2048, 4096])
def test_a_message_counts_by_its_size(size: int) -> None:
    assert cost(b"x" * size) == 1 + size // 2048
