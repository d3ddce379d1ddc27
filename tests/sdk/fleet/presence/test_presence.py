"""Presence that tells the truth: pairs of births and wills, silence, crowds, two of one name. Time is an argument."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.fleet.presence import Cause, Change, Presence, Roll
from edgekit.fleet.presence.deadline import Deadline
from edgekit.fleet.presence.device import LATE_S
from edgekit.fleet.presence.roll import RETURN_S
from edgekit_agent.protocol import State
from tests.sdk.fleet.presence.network import BEAT_S, GOOD, SLOW, WIFI, Network, arrivals

ONE = ("default", "dev-one")


def online(birth: int = 1, boot: str = "b1", heartbeat_s: float = BEAT_S) -> State:
    return State(state="online", birth=birth, boot=boot, heartbeat_s=heartbeat_s)


def will(birth: int = 1, boot: str = "b1") -> State:
    return State(state="offline", birth=birth, boot=boot)


def goodbye(birth: int = 1, boot: str = "b1") -> State:
    return State(state="offline", birth=birth, boot=boot, why="stop")


def keys(count: int) -> list[tuple[str, str]]:
    return [("default", f"dev-{number}") for number in range(count)]


def stands(roll: Roll, key: tuple[str, str] = ONE) -> tuple[Presence, Cause]:
    verdict = roll.verdict(key)
    return verdict.presence, verdict.cause


def born(count: int) -> Roll:
    roll = Roll()
    for key in keys(count):
        roll.state(key, online(boot=key[1]), 0.0)
    return roll


def test_a_device_that_was_never_heard_is_unknown() -> None:
    assert stands(Roll()) == (Presence.UNKNOWN, Cause.NEVER_SEEN)


@pytest.mark.parametrize(
    ("said", "presence", "cause"),
    [
        ([online()], Presence.ONLINE, Cause.HEARD),
        ([online(), will()], Presence.OFFLINE, Cause.CONNECTION_LOST),
        ([online(), goodbye()], Presence.STOPPED, Cause.CLEAN_STOP),
        ([online(2), will(1)], Presence.ONLINE, Cause.HEARD),
        ([online(2), will(2, "other")], Presence.ONLINE, Cause.HEARD),
        ([online(), goodbye(), will()], Presence.STOPPED, Cause.CLEAN_STOP),
        ([online(), goodbye(), will(2, "b2")], Presence.OFFLINE, Cause.CONNECTION_LOST),
        ([online(), will(), online(2)], Presence.ONLINE, Cause.HEARD),
        ([goodbye()], Presence.STOPPED, Cause.CLEAN_STOP),
        ([will()], Presence.OFFLINE, Cause.CONNECTION_LOST),
    ],
)
def test_births_and_wills_go_in_pairs(said: list[State], presence: Presence, cause: Cause) -> None:
    roll = Roll()
    for number, state in enumerate(said):
        roll.state(ONE, state, float(number))
    assert stands(roll) == (presence, cause)


def test_a_change_is_told_once_with_its_time() -> None:
    roll = Roll()
    first = roll.state(ONE, online(), 1.0)
    assert [(one.key, one.verdict.since_s) for one in first] == [(ONE, 1.0)]
    assert roll.state(ONE, online(), 11.0) == []
    (lost,) = roll.state(ONE, will(), 12.0)
    assert lost.verdict.since_s == 12.0
    assert roll.state(ONE, will(), 13.0) == []


def test_silence_is_told_within_twenty_seconds_and_a_report_takes_it_back() -> None:
    roll = Roll()
    roll.state(ONE, online(), 0.0)
    told = [(float(second) / 2, one) for second in range(60) for one in roll.tick(second / 2)]
    assert len(told) == 1
    assert told[0][0] <= 19.5
    assert stands(roll) == (Presence.OFFLINE, Cause.SILENT)
    assert roll.heard(ONE, 40.0)
    assert stands(roll) == (Presence.ONLINE, Cause.HEARD)
    assert roll.last_heard_s(ONE) == 40.0
    assert [one for second in range(80, 130) for one in roll.tick(second / 2)] != []


def test_a_report_that_was_under_way_when_the_will_came_changes_nothing() -> None:
    roll = Roll()
    roll.state(ONE, online(), 0.0)
    roll.state(ONE, will(), 5.0)
    assert roll.heard(ONE, 5.4, at_s=4.9) == []
    assert roll.heard(ONE, 6.5) == []
    assert stands(roll) == (Presence.OFFLINE, Cause.CONNECTION_LOST)
    assert roll.heard(ONE, 5.0 + LATE_S + 1.0)
    assert stands(roll) == (Presence.ONLINE, Cause.HEARD)


def test_a_report_that_waited_long_does_not_bring_back_who_has_said_goodbye() -> None:
    """Where many come at once the reports may be stored seconds after the states."""
    roll = Roll()
    roll.state(ONE, online(), 0.0)
    roll.state(ONE, goodbye(), 5.0)
    assert roll.heard(ONE, 12.0, at_s=11.0) == []
    assert stands(roll) == (Presence.STOPPED, Cause.CLEAN_STOP)
    roll.state(ONE, online(2), 13.0)
    assert stands(roll) == (Presence.ONLINE, Cause.HEARD)


def test_reports_keep_a_device_whose_heartbeats_are_lost() -> None:
    roll = Roll()
    roll.state(ONE, online(), 0.0)
    for second in range(0, 100, 10):
        roll.heard(ONE, float(second))
        assert roll.tick(second + 9.0) == []


def test_two_agents_of_one_name_are_found_out() -> None:
    roll = Roll()
    changes: list[Change] = []
    for turn in range(4):
        boot = ("b1", "b2")[turn % 2]
        changes += roll.state(ONE, online(turn + 1, boot), float(turn))
        changes += roll.state(ONE, will(turn + 1, ("b2", "b1")[turn % 2]), turn + 0.5)
    assert stands(roll) == (Presence.ONLINE, Cause.DUPLICATE_ID)
    assert {one.verdict.presence for one in changes} == {Presence.ONLINE}


def test_an_agent_that_starts_again_is_no_second_one() -> None:
    roll = Roll()
    for number in range(6):
        roll.state(ONE, online(number, f"b{number}"), 10.0 * number)
    assert stands(roll) == (Presence.ONLINE, Cause.HEARD)


def test_while_we_are_cut_off_nobody_dies_and_all_get_their_time_after_it() -> None:
    roll = born(20)
    changed = roll.host(5.0, connected=False)
    assert {(one.verdict.presence, one.verdict.cause) for one in changed} == {(Presence.STALE, Cause.BROKER_RESTART)}
    assert [one for second in range(5, 600) for one in roll.tick(float(second))] == []
    roll.host(600.0, connected=True)
    for key in keys(15):
        roll.state(key, online(2, key[1]), 601.0)
    assert roll.tick(602.0) == []
    for key in keys(15):
        roll.heard(key, 630.0)
    assert {one.key for one in roll.tick(600.0 + RETURN_S)} == set(keys(20)[15:])
    assert stands(roll, keys(20)[-1]) == (Presence.OFFLINE, Cause.SILENT)


def test_many_wills_at_once_are_the_brokers() -> None:
    roll = born(20)
    for number, key in enumerate(keys(20)):
        roll.state(key, will(1, key[1]), 5.0 + 0.01 * number)
    assert {stands(roll, key) for key in keys(20)} == {(Presence.STALE, Cause.BROKER_RESTART)}
    for key in keys(18):
        roll.state(key, online(2, key[1]), 9.0)
    gone = {one.key for second in range(10, 60) for one in roll.tick(float(second)) if second < 9 + 15}
    assert gone == set()
    for key in keys(18):
        roll.heard(key, 39.0)
    told = roll.tick(5.5 + RETURN_S)
    assert {(one.key, one.verdict.cause) for one in told if one.key in keys(20)[18:]} <= {
        (key, Cause.CONNECTION_LOST) for key in keys(20)[18:]
    }


def test_few_wills_are_told_at_once() -> None:
    roll = born(100)
    for key in keys(4):
        assert roll.state(key, will(1, key[1]), 5.0)
        assert stands(roll, key) == (Presence.OFFLINE, Cause.CONNECTION_LOST)


def test_a_report_from_before_the_last_will_does_not_bring_back_who_is_held_for_the_broker() -> None:
    """It is seen once it is stored, which may be after the will."""
    roll = Roll()
    roll.host(0.0, connected=False)
    roll.host(1.0, connected=True)
    roll.state(ONE, online(), 2.0, retained=True)
    roll.state(ONE, will(), 12.0)
    assert stands(roll) == (Presence.STALE, Cause.BROKER_RESTART)
    assert roll.heard(ONE, 12.4, 11.9) == []
    roll.tick(12.1 + RETURN_S)
    assert stands(roll) == (Presence.OFFLINE, Cause.CONNECTION_LOST)


def test_who_has_told_its_state_since_we_are_there_is_believed_its_will_at_once() -> None:
    roll = Roll()
    roll.host(0.0, connected=False)
    roll.host(1.0, connected=True)
    roll.state(ONE, online(), 2.0)
    roll.state(ONE, will(), 2.5)
    assert stands(roll) == (Presence.OFFLINE, Cause.CONNECTION_LOST)


def test_a_device_that_is_forgotten_is_gone() -> None:
    roll = born(3)
    roll.forget(keys(3)[0])
    assert keys(3)[0] not in roll
    assert {one.key for one in roll.tick(30.0)} == set(keys(3)[1:])


@settings(deadline=None)
@given(gaps=st.lists(st.floats(0.0, 100.0), max_size=50), beat_s=st.floats(0.1, 3600.0))
def test_the_deadline_has_its_bounds_whatever_was_seen(gaps: list[float], beat_s: float) -> None:
    deadline = Deadline()
    for gap in gaps:
        deadline.beat(gap, beat_s)
    assert 1.3 * beat_s <= deadline.seconds(beat_s) <= max(1.9 * beat_s, beat_s + 3.0) + 1e-9
    if beat_s == BEAT_S:
        assert deadline.seconds(beat_s) <= 19.0


# --- simulated hours


def run(
    network: Network, devices: int, seconds: float, dies: dict[int, float] | None = None
) -> tuple[int, list[float]]:
    """Return how many were declared dead that were not, and after how long those were that are."""
    roll, names = Roll(), keys(devices)
    dead = {names[number]: at_s for number, at_s in (dies or {}).items()}
    false_alarms, found, next_s = 0, dict[tuple[str, str], float](), 0.5
    for at_s, number, state in arrivals(network, devices, seconds, 7, dies):
        while next_s <= at_s:
            for change in roll.tick(next_s):
                if change.key in dead and next_s >= dead[change.key]:
                    found.setdefault(change.key, next_s - dead[change.key])
                else:
                    false_alarms += 1
            next_s += 0.5
        if state is None:
            roll.heard(names[number], at_s)
        else:
            roll.state(names[number], state, at_s)
    return false_alarms, sorted(found.values())


@pytest.mark.slow
@pytest.mark.parametrize("network", [WIFI, SLOW], ids=["wifi", "slow-broker"])
def test_no_false_alarm_in_an_hour_of_a_thousand_devices(network: Network) -> None:
    assert run(network, 1000, 3600.0)[0] == 0


def test_silent_death_is_found_within_twenty_seconds() -> None:
    dies = {number: 100.0 + 0.37 * number for number in range(20)}
    false_alarms, found = run(GOOD, 200, 200.0, dies)
    assert false_alarms == 0
    assert len(found) == len(dies)
    assert found[-1] <= 20.0
