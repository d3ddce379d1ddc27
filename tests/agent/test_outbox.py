"""Reports stay until the broker has taken them; oldest first; nothing is lost while there is room."""

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent.outbox import IN_FLIGHT, RETRY_UNHEARD_S, UNHEARD_LIMIT_S, Outbox
from edgekit_agent.protocol import ExpHistogram, Latency, Report

MakeReport = Callable[[int], Report]


def seqs(reports: list[Report]) -> list[int]:
    return [report.seq for report in reports]


def test_nothing_goes_before_the_first_connection(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.put(report(1))
    assert outbox.take(0) == []
    assert outbox.next_time(0) is None


def test_the_first_connection_does_not_wait(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.put(report(1))
    outbox.connected(100)
    assert outbox.next_time(100) == 100
    assert seqs(outbox.take(100)) == [1]


def test_a_report_is_sent_once_and_leaves_when_it_is_taken(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.connected(0)
    outbox.put(report(1))
    assert seqs(outbox.take(0)) == [1]
    assert outbox.take(50) == []
    assert len(outbox) == 1
    outbox.acked(1)
    assert len(outbox) == 0


def test_after_a_reconnect_what_was_in_flight_goes_again_as_history(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.connected(0)
    outbox.put(report(1))
    assert outbox.take(0)[0].history == 0
    outbox.disconnected()
    outbox.put(report(2))
    assert outbox.take(1) == []
    outbox.connected(10)
    again = outbox.take(13)
    assert [(one.seq, one.history) for one in again] == [(1, 1), (2, 0)]


def test_a_broker_that_was_away_at_the_start_gets_time_too(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.put(report(1))
    outbox.disconnected()  # the first try failed
    outbox.connected(10)
    assert outbox.take(12.9) == []
    outbox.take(13)
    outbox.unheard(1, 13)
    assert len(outbox) == 1


def test_after_a_reconnect_the_subscribers_get_time_to_come_back(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.connected(0)
    outbox.disconnected()
    outbox.connected(10)
    outbox.put(report(1))
    assert outbox.take(12.9) == []
    assert outbox.next_time(11) == 13
    assert seqs(outbox.take(13)) == [1]


def test_the_oldest_go_first_and_only_so_many_are_in_flight(report: MakeReport) -> None:
    outbox = Outbox(capacity=100, settle_s=0)
    for seq in range(1, 51):
        outbox.put(report(seq))
    outbox.connected(0)
    assert seqs(outbox.take(0)) == list(range(1, IN_FLIGHT + 1))
    assert outbox.take(0) == []
    outbox.acked(3)
    assert seqs(outbox.take(0)) == [IN_FLIGHT + 1]


def test_a_full_flight_waits_for_an_answer_and_not_for_a_time(report: MakeReport) -> None:
    """Otherwise the supervisor would turn without a pause while a broker is slow."""
    outbox = Outbox(capacity=100, settle_s=0)
    for seq in range(1, 51):
        outbox.put(report(seq))
    outbox.connected(0)
    outbox.take(0)
    assert outbox.next_time(1) is None
    outbox.acked(1)
    assert outbox.next_time(1) == 1


def test_a_full_box_drops_the_oldest_and_counts_them(report: MakeReport) -> None:
    outbox = Outbox(capacity=3, settle_s=0)
    assert [outbox.put(report(seq)) for seq in range(1, 6)] == [0, 0, 0, 1, 1]
    assert outbox.dropped == 2
    outbox.connected(0)
    assert seqs(outbox.take(0)) == [3, 4, 5]


def test_an_answer_for_a_report_that_was_dropped_changes_nothing(report: MakeReport) -> None:
    outbox = Outbox(capacity=1, settle_s=0)
    outbox.connected(0)
    outbox.put(report(1))
    outbox.take(0)
    outbox.put(report(2))
    outbox.acked(1)
    outbox.unheard(1, 0)
    assert seqs(outbox.take(0)) == [2]


def test_on_the_first_connection_an_unheard_report_is_done_with(report: MakeReport) -> None:
    """Nobody was there before: nobody is missed."""
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.connected(0)
    outbox.put(report(1))
    outbox.take(0)
    outbox.unheard(1, 0)
    assert len(outbox) == 0


def test_soon_after_a_reconnect_an_unheard_report_goes_again(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=0)
    outbox.connected(0)
    outbox.disconnected()
    outbox.connected(10)
    outbox.put(report(1))
    outbox.take(10)
    outbox.unheard(1, 11)
    assert outbox.take(11) == []
    assert outbox.next_time(11) == 11 + RETRY_UNHEARD_S
    (again,) = outbox.take(11 + RETRY_UNHEARD_S)
    assert (again.seq, again.history) == (1, 1)


def test_long_after_a_reconnect_an_unheard_report_is_done_with(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=0)
    outbox.connected(0)
    outbox.disconnected()
    outbox.connected(10)
    outbox.put(report(1))
    outbox.take(10)
    outbox.unheard(1, 10 + UNHEARD_LIMIT_S + 1)
    assert len(outbox) == 0


def test_in_a_hurry_nothing_waits(report: MakeReport) -> None:
    outbox = Outbox(capacity=10, settle_s=3)
    outbox.connected(0)
    outbox.disconnected()
    outbox.connected(10)
    outbox.put(report(1))
    outbox.hurry()
    assert seqs(outbox.take(10)) == [1]


EMPTY = Latency(pre=ExpHistogram(), infer=ExpHistogram(), post=ExpHistogram(), e2e=ExpHistogram())
STEPS = st.lists(
    st.sampled_from(["put", "take", "lose", "ack-oldest", "ack-newest", "unheard", "connect"]), max_size=80
)


def _report(seq: int) -> Report:
    return Report(
        ts_ms=0,
        boot="b",
        seq=seq,
        model="m",
        version="1",
        artifact="a",
        runtime="r",
        executed_on=(),
        window_s=1.0,
        inferences=1,
        latency=EMPTY,
    )


@settings(max_examples=200, deadline=None)
@given(steps=STEPS)
def test_no_report_is_lost_while_there_is_room_whatever_happens(steps: list[str]) -> None:
    """A broker that takes some and loses others; at the end it works, and has every report, each time oldest first."""
    outbox = Outbox(capacity=1000, settle_s=3)
    taken: set[int] = set()
    flying: list[int] = []
    now, made = 0.0, 0
    # a broker that was away is not believed at once that nobody is there
    outbox.disconnected()
    outbox.connected(now)
    for step in steps:
        now += 1.0
        if step == "put":
            made += 1
            assert outbox.put(_report(made)) == 0
        elif step == "take":
            batch = seqs(outbox.take(now))
            assert batch == sorted(batch)
            flying += batch
            assert len(flying) <= IN_FLIGHT
        elif step == "lose":
            outbox.disconnected()
            flying = []
        elif step == "connect":
            outbox.connected(now)
            flying = []
        elif flying:
            seq = flying.pop(0 if step == "ack-oldest" else -1)
            if step == "unheard":
                outbox.connected(now)  # within the minute in which that counts
                flying = []
                outbox.unheard(seq, now)
            else:
                taken.add(seq)
                outbox.acked(seq)
    outbox.connected(now)
    while len(outbox):
        now += 10.0
        for seq in seqs(outbox.take(now)):
            taken.add(seq)
            outbox.acked(seq)
    assert taken == set(range(1, made + 1))


@pytest.mark.parametrize("capacity", [1, 7])
def test_with_a_full_box_the_newest_are_kept(capacity: int) -> None:
    outbox = Outbox(capacity=capacity, settle_s=0)
    lost = sum(outbox.put(_report(seq)) for seq in range(1, 21))
    outbox.connected(0)
    assert seqs(outbox.take(0)) == list(range(21 - capacity, 21))
    assert lost == 20 - capacity
