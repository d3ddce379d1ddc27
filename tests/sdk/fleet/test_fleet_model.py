"""The picture of the fleet, fed by hand: no broker and no clock."""

from collections.abc import Callable
from itertools import count
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.fleet import Fleet, quantiles_ms
from edgekit.fleet import _fleet as module
from edgekit_agent.protocol import Event, ExpHistogram, Info, Report, State

MakeReport = Callable[..., Report]
TELE = "ek/1/default/dev-one/tele"
STATE = "ek/1/default/dev-one/state"

seconds = st.lists(st.floats(min_value=1e-6, max_value=10.0), min_size=1, max_size=20).map(tuple)


@given(groups=st.lists(seconds, min_size=1, max_size=8))
def test_the_window_is_the_histogram_of_all_values(make_report: MakeReport, groups: list[tuple[float, ...]]) -> None:
    fleet = Fleet()
    for seq, values in enumerate(groups):
        fleet.feed(TELE, make_report(values, seq=seq).to_bytes(), 0.0)
    (row,) = fleet.rows(0.0)
    merged, exact = row.merged(), ExpHistogram.of((value for values in groups for value in values), 4)
    assert merged.at_scale(4).counts == exact.counts
    assert merged.count == exact.count
    assert row.rate_hz() == pytest.approx(merged.count / len(groups))


@given(groups=st.lists(seconds, min_size=1, max_size=6), chance=st.randoms())
def test_order_and_duplicates_change_nothing(
    make_report: MakeReport, groups: list[tuple[float, ...]], chance: Random
) -> None:
    payloads = [make_report(values, seq=seq).to_bytes() for seq, values in enumerate(groups)]
    shuffled = [*payloads, *payloads]
    chance.shuffle(shuffled)
    fleets = [Fleet(), Fleet()]
    for fleet, messages in zip(fleets, (payloads, shuffled), strict=True):
        for payload in messages:
            fleet.feed(TELE, payload, 0.0)
    first, second = (fleet.rows(0.0)[0].merged() for fleet in fleets)
    assert first == second
    assert fleets[1].counters.duplicate == len(payloads)


def test_a_report_of_another_boot_or_device_is_no_duplicate(make_report: MakeReport) -> None:
    fleet = Fleet()
    payload = make_report().to_bytes()
    assert fleet.feed(TELE, payload, 0.0) is not None
    assert fleet.feed(TELE, payload, 0.0) is None
    assert fleet.feed("ek/1/default/dev-two/tele", payload, 0.0) is not None
    assert fleet.feed("ek/1/other/dev-one/tele", payload, 0.0) is not None
    assert fleet.feed(TELE, make_report(boot="b2").to_bytes(), 0.0) is not None
    assert fleet.counters.duplicate == 1


def test_reports_leave_the_window_but_the_newest_stays(make_report: MakeReport) -> None:
    fleet = Fleet(window_s=10.0)
    for seq, moment in enumerate((0.0, 5.0, 14.0)):
        fleet.feed(TELE, make_report(seq=seq).to_bytes(), moment)
    assert [report.seq for _, report in fleet.rows(14.0)[0].reports] == [1, 2]
    assert [report.seq for _, report in fleet.rows(1000.0)[0].reports] == [2]


def test_old_reports_leave_although_nobody_asks_for_rows(make_report: MakeReport) -> None:
    """`watch --json` runs for weeks and never draws a table."""
    fleet = Fleet(window_s=10.0)
    for seq in range(100):
        fleet.feed(TELE, make_report(seq=seq).to_bytes(), float(seq))
    assert len(fleet._rows["default", "dev-one", "kws"].reports) == 11


def test_a_resent_report_counts_for_when_it_was_made(make_report: MakeReport) -> None:
    fleet = Fleet(window_s=10.0)
    fleet.feed(TELE, make_report(seq=9, ts_ms=100_000).to_bytes(), 0.0)
    fleet.feed(TELE, make_report(seq=1, ts_ms=40_000, history=1).to_bytes(), 1.0)
    fleet.feed(TELE, make_report(seq=8, ts_ms=98_000, history=1).to_bytes(), 1.0)
    (row,) = fleet.rows(1.0)
    assert [report.seq for _, report in row.reports] == [8, 9]
    assert row.latest().seq == 9


def test_a_will_of_another_birth_is_ignored() -> None:
    fleet = Fleet()
    fleet.feed(STATE, State(state="online", birth=2, boot="b1").to_bytes(), 0.0)
    assert fleet.feed(STATE, State(state="offline", birth=1, boot="b1").to_bytes(), 0.0) is None
    assert fleet.presence("default", "dev-one", 0.0) == "online"
    assert fleet.feed(STATE, State(state="offline", birth=2, boot="b1").to_bytes(), 0.0) is not None
    assert fleet.presence("default", "dev-one", 0.0) == "offline"


def test_a_will_after_a_goodbye_changes_nothing() -> None:
    fleet = Fleet()
    for state in (
        State(state="online", birth=2, boot="b1"),
        State(state="offline", birth=2, boot="b1", why="stop"),
        State(state="offline", birth=2, boot="b1"),
    ):
        fleet.feed(STATE, state.to_bytes(), 0.0)
    assert fleet.presence("default", "dev-one", 0.0) == "stopped"
    fleet.feed(STATE, State(state="offline", birth=3, boot="b2").to_bytes(), 0.0)
    assert fleet.presence("default", "dev-one", 0.0) == "offline"


@pytest.mark.parametrize(
    ("state", "after_s", "presence"),
    [
        (State(state="online", heartbeat_s=2.0), 4.9, "online"),
        (State(state="online", heartbeat_s=2.0), 5.1, "offline"),
        (State(state="online"), 18.9, "online"),
        (State(state="online"), 19.1, "offline"),
        (State(state="offline"), 0.0, "offline"),
        (State(state="offline", why="stop"), 0.0, "stopped"),
    ],
    ids=["fresh", "silent", "default-beat", "default-beat-silent", "lost", "stopped"],
)
def test_presence(state: State, after_s: float, presence: str) -> None:
    fleet = Fleet()
    fleet.feed(STATE, state.to_bytes(), 0.0)
    assert fleet.presence("default", "dev-one", after_s) == presence


def test_a_device_that_only_reports_is_of_unknown_presence(make_report: MakeReport) -> None:
    fleet = Fleet()
    fleet.feed(TELE, make_report().to_bytes(), 0.0)
    assert fleet.presence("default", "dev-one", 0.0) == "unknown"


def test_a_cleared_state_forgets_the_device(make_report: MakeReport) -> None:
    fleet = Fleet()
    fleet.feed(STATE, State(state="online").to_bytes(), 0.0)
    fleet.feed(TELE, make_report().to_bytes(), 0.0)
    fleet.feed(STATE, b"", 0.0)
    assert not fleet.devices
    assert not fleet.rows(0.0)


def test_the_hosts_own_state_is_no_device() -> None:
    fleet = Fleet()
    assert fleet.feed("ek/1/default/$host/state", State(state="online").to_bytes(), 0.0) is None
    assert not fleet.devices
    assert fleet.counters.rejected == 0


def test_info_and_events_are_kept() -> None:
    fleet = Fleet()
    info = Info(agent="0.1.0", hardware={"cores": 2}, runtimes={"openvino": "2026.4.1"})
    event = Event(ts_ms=1, level="error", code="worker-crashed", text="The process died.", model="kws")
    fleet.feed("ek/1/default/dev-one/info", info.to_bytes(), 0.0)
    fleet.feed("ek/1/default/dev-one/event", event.to_bytes(), 0.0)
    assert fleet.devices["default", "dev-one"].info == info
    assert [one.message for one in fleet.events] == [event]


@given(topic=st.text(max_size=60) | st.sampled_from([TELE, STATE, "ek/1/default/dev-one/cmd/x"]), payload=st.binary())
def test_whatever_arrives_is_counted_and_never_raises(topic: str, payload: bytes) -> None:
    fleet = Fleet()
    fleet.feed(topic, payload, 0.0)
    counters = fleet.counters
    assert counters.received == 1 == counters.decoded + counters.duplicate + counters.rejected


def test_made_up_devices_do_not_fill_the_memory(monkeypatch: pytest.MonkeyPatch, make_report: MakeReport) -> None:
    monkeypatch.setattr(module, "DEVICE_LIMIT", 3)
    monkeypatch.setattr(module, "ROW_LIMIT", 4)
    fleet, numbers = Fleet(), count()
    for number in range(10):
        fleet.feed(f"ek/1/default/dev-{number}/state", State(state="online").to_bytes(), 0.0)
    for model in range(10):
        payload = make_report(model=f"model-{model}", seq=next(numbers)).to_bytes()
        fleet.feed("ek/1/default/dev-0/tele", payload, 0.0)
    assert len(fleet.devices) == 3
    assert len(fleet.rows(0.0)) == 4
    assert fleet.counters.rejected == 7 + 6


def test_quantiles_are_milliseconds_and_none_without_values() -> None:
    values = quantiles_ms(ExpHistogram.of([0.001] * 99 + [1.0], 4))
    assert values["p50_ms"] == pytest.approx(1.0, rel=0.022)
    assert values["p99_ms"] == pytest.approx(1.0, rel=0.022)
    assert quantiles_ms(ExpHistogram.of([], 4)) == {"p50_ms": None, "p90_ms": None, "p99_ms": None}
