"""The service manager hears of a ready, working agent only when every part of it is."""

import pytest

from edgekit_agent.watchdog import PARTS, SPOOL, TRANSPORT, WORKERS, Watchdog


@pytest.fixture
def watchdog() -> Watchdog:
    """One whose service manager waits for 30 s."""
    return Watchdog(30.0)


def all_tick(watchdog: Watchdog, *but: str) -> None:
    for part in set(PARTS) - set(but):
        watchdog.tick(part)


def test_ready_is_told_once_when_every_part_has_ticked(watchdog: Watchdog) -> None:
    assert watchdog.due(0) == []
    all_tick(watchdog, SPOOL)
    assert watchdog.due(100) == []
    assert watchdog.missing == (SPOOL,)
    watchdog.tick(SPOOL)
    assert watchdog.due(101) == ["READY=1"]
    all_tick(watchdog)
    assert watchdog.due(102) == []


def test_it_is_fed_four_times_in_a_period_and_not_more_often(watchdog: Watchdog) -> None:
    told = []
    for second in range(61):
        all_tick(watchdog)
        told += [(second, text) for text in watchdog.due(second)]
    assert told[0] == (0, "READY=1")
    assert [second for second, text in told[1:] if text == "WATCHDOG=1"] == [8, 16, 24, 32, 40, 48, 56]


@pytest.mark.parametrize("part", PARTS)
def test_it_is_not_fed_while_a_part_is_missing(watchdog: Watchdog, part: str) -> None:
    all_tick(watchdog)
    watchdog.due(0)
    for second in range(1, 100):
        all_tick(watchdog, part)
        assert watchdog.due(second) == []
        assert watchdog.late(second) == ((part,) if second == 16 else ())
    watchdog.tick(part)
    assert watchdog.due(100) == ["WATCHDOG=1"]
    assert watchdog.late(101) == ()


def test_a_tick_counts_for_one_time_only(watchdog: Watchdog) -> None:
    all_tick(watchdog)
    watchdog.due(0)
    all_tick(watchdog)
    assert watchdog.due(10) == ["WATCHDOG=1"]
    assert watchdog.missing == (TRANSPORT, SPOOL, WORKERS)
    assert watchdog.due(20) == []


def test_without_a_period_only_ready_is_told() -> None:
    watchdog = Watchdog()
    all_tick(watchdog)
    assert watchdog.due(0) == ["READY=1"]
    all_tick(watchdog)
    assert watchdog.due(1000) == []
    assert not watchdog.late(1000)


def test_a_part_that_nobody_waits_for_is_a_mistake(watchdog: Watchdog) -> None:
    with pytest.raises(ValueError, match="fetch"):
        watchdog.tick("fetch")
