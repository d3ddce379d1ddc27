"""Which reports go when: nothing is lost while there is room, late ones in order and marked, live ones before them."""

import pytest

from edgekit_agent.outbox import IN_FLIGHT, LONGEST_RESEND_S, RESEND_S, RETRY_UNHEARD_S, UNHEARD_LIMIT_S, Outbox, Parcel
from edgekit_agent.protocol import State
from edgekit_agent.spool import Limits, Spool
from tests.agent.crash_states import MemoryFiles
from tests.agent.spooling import at, open_spool, put, reports

ONLINE, OFFLINE = State(state="online"), State(state="offline")


@pytest.fixture
def spool() -> Spool:
    return open_spool(MemoryFiles())


@pytest.fixture
def outbox(spool: Spool) -> Outbox:
    return Outbox(spool, settle_s=3)


def sent(parcels: list[Parcel]) -> list[tuple[int, int]]:
    """Return sequence number and late flag."""
    return [(report.seq, report.history) for report in reports(parcels)]


def take_all(outbox: Outbox, now: float) -> list[tuple[int, int]]:
    """Let the broker take everything at once."""
    found = []
    while parcels := outbox.take(at(now)):
        found += sent(parcels)
        for parcel in parcels:
            outbox.taken(parcel.position, at(now))
    return found


ONE = Limits(disk_bytes=0, age_s=1e6, in_memory=1)


def dropped_on_its_way(outbox: Outbox) -> Parcel:
    """Send report 1 and put report 2, of which there is no room for both."""
    outbox.connected(at(0))
    outbox.take(at(0))
    put(outbox, 1)
    (first,) = outbox.take(at(0))
    put(outbox, 2)
    return first


class TestBroker:
    def test_nothing_goes_before_the_first_connection(self, outbox: Outbox) -> None:
        put(outbox, 1)
        assert outbox.take(at(0)) == []
        assert outbox.next_time(at(0)) is None
        assert not outbox.unsent

    def test_the_first_connection_does_not_wait_and_what_waited_is_late(self, outbox: Outbox) -> None:
        put(outbox, 1)
        outbox.connected(at(100))
        assert outbox.next_time(at(100)) == 100
        assert sent(outbox.take(at(100))) == [(1, 1)]

    def test_a_live_report_is_sent_once_and_leaves_when_the_broker_has_it(self, outbox: Outbox, spool: Spool) -> None:
        outbox.connected(at(0))
        outbox.take(at(0))
        put(outbox, 1)
        (parcel,) = outbox.take(at(0))
        assert sent([parcel]) == [(1, 0)]
        assert outbox.take(at(50)) == []
        assert outbox.unsent
        outbox.taken(parcel.position, at(50))
        assert (len(spool), outbox.unsent) == (0, False)

    def test_after_a_reconnect_everything_goes_in_order_and_late(self, outbox: Outbox) -> None:
        outbox.connected(at(0))
        outbox.take(at(0))
        put(outbox, 1)
        assert sent(outbox.take(at(0))) == [(1, 0)]
        outbox.disconnected()
        put(outbox, 2)
        assert outbox.take(at(1)) == []
        outbox.connected(at(10))
        put(outbox, 3)  # before the subscribers had their time
        assert outbox.take(at(12.9)) == []
        assert outbox.next_time(at(11)) == 13
        assert sent(outbox.take(at(13))) == [(1, 1), (2, 1), (3, 1)]

    def test_the_end_of_the_subscribers_time_is_a_time_to_look_again_for_events_go_then_too(
        self, outbox: Outbox
    ) -> None:
        outbox.disconnected()
        outbox.connected(at(10))
        assert (outbox.open(at(12)), outbox.next_time(at(12)), outbox.open(at(13))) == (False, 13, True)
        outbox.take(at(13))
        assert outbox.next_time(at(13)) is None

    def test_live_reports_go_before_late_ones(self, outbox: Outbox) -> None:
        put(outbox, *range(1, 51))
        outbox.connected(at(0))
        assert sent(outbox.take(at(0))) == [(seq, 1) for seq in range(1, IN_FLIGHT + 1)]
        put(outbox, 51)
        assert sent(outbox.take(at(0))) == [(51, 0)]
        assert take_all(outbox, 0) == []  # the flight is full

    def test_a_full_flight_waits_for_an_answer_and_not_for_a_time(self, outbox: Outbox) -> None:
        """Otherwise the supervisor would turn without a pause while a broker is slow."""
        put(outbox, *range(1, 51))
        outbox.connected(at(0))
        first = outbox.take(at(0))
        assert outbox.next_time(at(1)) is None
        outbox.taken(first[0].position, at(1))
        assert outbox.next_time(at(1)) == 1
        assert sent(outbox.take(at(1))) == [(IN_FLIGHT + 1, 1)]

    def test_nothing_is_released_before_what_is_older_was_taken(self, outbox: Outbox, spool: Spool) -> None:
        put(outbox, 1, 2, 3)
        outbox.connected(at(0))
        parcels = outbox.take(at(0))
        put(outbox, 4)
        (live,) = outbox.take(at(0))
        for parcel in (live, parcels[2], parcels[1]):
            outbox.taken(parcel.position, at(0))
            assert len(spool) == 4
        outbox.taken(parcels[0].position, at(0))
        assert len(spool) == 0

    def test_a_broker_that_was_away_at_the_start_gets_time_too(self, outbox: Outbox, spool: Spool) -> None:
        put(outbox, 1)
        outbox.disconnected()  # the first try failed
        outbox.connected(at(10))
        assert outbox.take(at(12.9)) == []
        (parcel,) = outbox.take(at(13))
        outbox.taken(parcel.position, at(13), heard=False)
        assert len(spool) == 1

    def test_on_the_first_connection_an_unheard_report_is_done_with(self, outbox: Outbox, spool: Spool) -> None:
        """Nobody was there before: nobody is missed."""
        outbox.connected(at(0))
        put(outbox, 1)
        (parcel,) = outbox.take(at(0))
        outbox.taken(parcel.position, at(0), heard=False)
        assert len(spool) == 0

    def test_soon_after_a_reconnect_an_unheard_report_goes_again(self, outbox: Outbox) -> None:
        outbox.disconnected()
        outbox.connected(at(10))
        put(outbox, 1)
        (parcel,) = outbox.take(at(13))
        outbox.taken(parcel.position, at(13.5), heard=False)
        assert outbox.take(at(14)) == []
        assert outbox.next_time(at(14)) == 13.5 + RETRY_UNHEARD_S
        assert sent(outbox.take(at(13.5 + RETRY_UNHEARD_S))) == [(1, 1)]

    def test_long_after_a_reconnect_an_unheard_report_is_done_with(self, outbox: Outbox, spool: Spool) -> None:
        outbox.disconnected()
        outbox.connected(at(10))
        put(outbox, 1)
        (parcel,) = outbox.take(at(13))
        outbox.taken(parcel.position, at(11 + UNHEARD_LIMIT_S), heard=False)
        assert len(spool) == 0

    def test_a_report_dropped_on_its_way_is_not_lost_when_the_broker_has_it(self) -> None:
        spool = open_spool(MemoryFiles(), ONE)
        outbox = Outbox(spool, settle_s=0)
        first = dropped_on_its_way(outbox)
        assert spool.dropped == 0
        outbox.taken(first.position, at(0))
        outbox.disconnected()
        assert spool.dropped == 0
        outbox.connected(at(1))
        assert sent(outbox.take(at(1))) == [(2, 1)]

    def test_one_dropped_on_its_way_is_lost_with_the_connection(self) -> None:
        spool = open_spool(MemoryFiles(), ONE)
        outbox = Outbox(spool, settle_s=0)
        dropped_on_its_way(outbox)
        outbox.disconnected()
        assert spool.dropped == 1

    def test_one_dropped_before_it_was_sent_is_lost_at_once(self) -> None:
        spool = open_spool(MemoryFiles(), ONE)
        outbox = Outbox(spool, settle_s=0)
        outbox.connected(at(0))
        put(outbox, 1, 2)
        assert spool.dropped == 1

    def test_in_a_hurry_nothing_waits(self, outbox: Outbox) -> None:
        outbox.disconnected()
        outbox.connected(at(10))
        put(outbox, 1)
        outbox.hurry()
        assert sent(outbox.take(at(10))) == [(1, 1)]

    def test_too_old_reports_are_not_sent(self) -> None:
        spool = open_spool(MemoryFiles(), Limits(disk_bytes=10**6, age_s=100, in_memory=10))
        outbox = Outbox(spool, settle_s=0)
        put(outbox, 1, now=0)
        put(outbox, 2, now=60)
        outbox.connected(at(120))
        assert sent(outbox.take(at(120))) == [(2, 1)]
        assert spool.dropped == 1


class TestHost:
    @pytest.fixture
    def hosted(self, outbox: Outbox) -> Outbox:
        """Connected, with a host that acknowledges and is online."""
        outbox.connected(at(0))
        outbox.host(ONLINE)
        outbox.take(at(0))
        return outbox

    def test_one_dropped_on_its_way_is_not_lost_when_the_host_has_stored_it(self) -> None:
        files = MemoryFiles()
        few = Limits(disk_bytes=8192, age_s=1e6, in_memory=100)
        spool = open_spool(files, few)
        outbox = Outbox(spool, settle_s=0)
        outbox.connected(at(0))
        outbox.host(ONLINE)
        outbox.take(at(0))
        seq = 0
        while spool.first == 0:  # until a file is dropped
            seq += 1
            put(outbox, seq)
            for parcel in outbox.take(at(0)):
                outbox.taken(parcel.position, at(0))
        assert spool.dropped == 0
        spool.sync()
        assert open_spool(files, few).dropped == spool.first, "after a kill nobody can tell, and all of them count"
        outbox.acknowledged("b", seq, at(1))
        outbox.disconnected()
        spool.sync()
        assert (spool.dropped, open_spool(files, few).dropped) == (0, 0)

    def test_a_report_stays_until_the_host_has_stored_it(self, hosted: Outbox, spool: Spool) -> None:
        put(hosted, 1, 2, 3)
        assert take_all(hosted, 0) == [(1, 0), (2, 0), (3, 0)]
        assert (len(spool), hosted.unsent) == (3, False)
        hosted.acknowledged("b", 2, at(1))
        assert len(spool) == 1

    def test_an_acknowledgement_is_enough_to_know_of_a_host_also_after_a_restart(self) -> None:
        files = MemoryFiles()
        outbox = Outbox(open_spool(files), settle_s=0)
        outbox.connected(at(0))
        outbox.take(at(0))
        outbox.acknowledged("b", 0, at(0))
        put(outbox, 1, 2)
        assert take_all(outbox, 1) == [(1, 0), (2, 0)]
        again = Outbox(open_spool(files), settle_s=0)
        again.connected(at(5))
        assert take_all(again, 5) == [(1, 1), (2, 1)]
        again.acknowledged("b", 2, at(6))
        assert take_all(again, 7) == []

    def test_while_the_host_is_away_live_reports_go_and_late_ones_are_kept_for_it(
        self, hosted: Outbox, spool: Spool
    ) -> None:
        put(hosted, 1)
        take_all(hosted, 0)
        hosted.host(OFFLINE)
        put(hosted, 2)
        assert take_all(hosted, 1) == [(2, 0)]
        hosted.disconnected()
        put(hosted, 3)
        hosted.connected(at(2))
        assert take_all(hosted, 10) == []
        assert hosted.next_time(at(10)) is None
        assert not hosted.unsent
        hosted.host(ONLINE)
        assert take_all(hosted, 11) == [(1, 1), (2, 1), (3, 1)]
        hosted.acknowledged("b", 3, at(12))
        assert len(spool) == 0

    def test_what_is_not_acknowledged_for_a_while_goes_again_and_ever_more_rarely(self, hosted: Outbox) -> None:
        put(hosted, 1, 2)
        take_all(hosted, 0)
        times, now = [], 0.0
        for _ in range(9):
            due = hosted.next_time(at(now))
            assert due is not None
            assert take_all(hosted, due - 0.1) == []
            assert take_all(hosted, due) == [(1, 1), (2, 1)]
            times.append(due - now)
            now = due
        assert times[:3] == [RESEND_S, 2 * RESEND_S, 4 * RESEND_S]
        assert times[-1] == LONGEST_RESEND_S

    def test_acknowledgements_that_come_keep_it_from_sending_again(self, hosted: Outbox) -> None:
        for second in range(0, 600, 10):
            put(hosted, second // 10 + 1, now=second)
            assert take_all(hosted, second) == [(second // 10 + 1, 0)]
            hosted.acknowledged("b", second // 10, at(second + 5))

    def test_a_late_report_names_the_lowest_number_that_can_still_come(self) -> None:
        """Otherwise a host that waits for a dropped report would never acknowledge what came after it."""
        spool = open_spool(MemoryFiles(), Limits(disk_bytes=0, age_s=1e6, in_memory=5))
        outbox = Outbox(spool, settle_s=0)
        outbox.host(ONLINE)
        put(outbox, *range(1, 9))
        outbox.connected(at(0))
        (first, *_) = reports(outbox.take(at(0)))
        assert (first.seq, first.lowest) == (4, 4)

    def test_a_host_that_comes_anew_gets_what_it_had_not_acknowledged_and_one_that_only_says_so_again_does_not(
        self, hosted: Outbox
    ) -> None:
        put(hosted, 1, 2)
        take_all(hosted, 0)
        hosted.host(State(state="online", boot="x", birth=1))
        assert take_all(hosted, 1) == [(1, 1), (2, 1)]
        hosted.host(State(state="online", boot="x", birth=1))
        assert take_all(hosted, 2) == []
        hosted.host(State(state="online", boot="x", birth=2))
        assert take_all(hosted, 3) == [(1, 1), (2, 1)]

    def test_what_a_broker_had_nobody_for_soon_after_its_return_goes_again_quickly(self, hosted: Outbox) -> None:
        hosted.disconnected()
        put(hosted, 1)
        hosted.connected(at(10))
        (parcel,) = hosted.take(at(13))
        hosted.taken(parcel.position, at(13), heard=False)
        assert hosted.next_time(at(13)) == 13 + RETRY_UNHEARD_S
        assert take_all(hosted, 13 + RETRY_UNHEARD_S) == [(1, 1)]

    def test_without_a_host_any_more_the_broker_s_word_is_enough_again(self, hosted: Outbox, spool: Spool) -> None:
        hosted.no_host()
        put(hosted, 1)
        take_all(hosted, 0)
        assert len(spool) == 0
