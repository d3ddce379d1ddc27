"""One simulated device, fed by hand: it says what a real agent says. No broker and no clock."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edgekit.fleet._url import parse as url_of
from edgekit.fleet.simulate.device import Device, Out
from edgekit.fleet.simulate.faults import parse
from edgekit.fleet.simulate.latency import Bank
from edgekit.fleet.simulate.plan import Plan
from edgekit_agent.actions import Now
from edgekit_agent.protocol import (
    BY_KIND,
    Ack,
    Command,
    Desired,
    DesiredModel,
    Event,
    Kind,
    Message,
    Reason,
    Report,
    Reported,
    Result,
    State,
    Topic,
)

BANK = Bank(0)
PLAN = Plan(devices=1, broker=url_of("mqtt://127.0.0.1"), trial_s=3.0)
ACK, HOST = "ek/1/default/sim-00000/ack", "ek/1/default/$host/state"
DESIRED = "ek/1/default/sim-00000/desired"


def at(seconds: float) -> Now:
    return Now(s=seconds, ms=1_700_000_000_000 + int(1000 * seconds))


class World:
    """A device with a broker that takes everything, and what it has said."""

    def __init__(self, *faults: str, plan: Plan = PLAN) -> None:
        """Start the device and let it connect."""
        self.device = Device(replace(plan, faults=tuple(map(parse, faults))).identities()[0], BANK)
        self.said: list[tuple[Kind, Message]] = []
        self.device.start(at(0.0))
        self.device.next_birth()
        self.take(self.device.connected(at(0.0)), at(0.0))
        self.now_s = 0.0

    def take(self, out: Sequence[Out], now: Now) -> None:
        for one in out:
            topic = Topic.parse(one.topic)
            self.said.append((topic.kind, BY_KIND[topic.kind].from_bytes(one.payload)))
            if one.position is not None:
                self.device.taken(one.position, now, heard=True)

    def until(self, seconds: float) -> None:
        while self.now_s < seconds:
            self.now_s = min(seconds, max(self.now_s + 0.001, self.device.next_s(at(self.now_s))))
            self.take(self.device.tick(at(self.now_s)), at(self.now_s))

    def hear(self, topic: str, message: Message) -> None:
        self.take(self.device.received(topic, message.to_bytes(), at(self.now_s)), at(self.now_s))

    def of(self, kind: Kind) -> list[Message]:
        return [message for one, message in self.said if one is kind]

    def reports(self) -> list[Report]:
        return [one for one in self.of(Kind.TELE) if isinstance(one, Report)]

    def events(self) -> list[str]:
        return [one.code for one in self.of(Kind.EVENT) if isinstance(one, Event)]

    def phases(self) -> list[tuple[str, str, str | None]]:
        told = [one.models[0] for one in self.of(Kind.REPORTED) if isinstance(one, Reported)]
        return [(one.version, one.phase, one.serving) for one in told]


def test_it_is_born_describes_itself_and_reports() -> None:
    world = World()
    assert [kind for kind, _ in world.said[:2]] == [Kind.STATE, Kind.INFO]
    world.until(60.0)
    beats = [one for one in world.of(Kind.STATE) if isinstance(one, State)]
    assert {(one.state, one.birth) for one in beats} == {("online", 1)}
    assert len(beats) == 7
    reports = world.reports()
    assert [one.seq for one in reports] == list(range(1, 7))
    assert reports[-1].inferences == reports[-1].latency.infer.count == 100
    assert world.events() == [Reason.AGENT_STARTED, Reason.MODEL_READY]


def test_a_report_waits_for_the_host_and_goes_again() -> None:
    world = World()
    world.hear(HOST, State(state="online", boot="h1"))
    world.until(35.0)
    first = world.reports()
    assert len(world.device.spool) == len(first) > 1
    world.hear(ACK, Ack(boot=world.device.boot, seq=1))
    assert len(world.device.spool) == len(first) - 1
    world.device.disconnected()
    world.device.next_birth()
    world.take(world.device.connected(at(35.0)), at(35.0))
    world.until(39.0)
    again = world.reports()[len(first) :]
    assert [one.seq for one in again if one.history] == [one.seq for one in first[1:]]
    assert all(one.lowest == 2 for one in again if one.history)
    world.hear(ACK, Ack(boot=world.device.boot, seq=1000))
    assert world.device.spool.released == world.device.counts.made
    assert world.device.counts.resent == len(first) - 1


def test_after_the_end_of_measuring_nothing_that_comes_makes_a_report() -> None:
    """Otherwise every acknowledgement would make another report that waits for one."""
    world = World()
    world.until(35.0)
    made = world.device.counts.made
    state = State(state="online", boot="h1").to_bytes()
    world.take(world.device.received(HOST, state, at(60.0), measuring=False), at(60.0))
    world.device.disconnected()
    world.take(world.device.connected(at(80.0), measuring=False), at(80.0))
    assert world.device.counts.made == made


def test_an_update_goes_through_the_phases_and_both_versions_report_in_the_trial() -> None:
    world = World(plan=replace(PLAN, trial_s=25.0))
    world.until(1.0)
    world.hear(DESIRED, Desired(version=4, models=(DesiredModel(name="kws", version="2.0.0"),)))
    world.until(60.0)
    assert [phase for _, phase, _ in world.phases()[1:]] == [
        "announced", "checking", "downloading", "downloading", "verifying", "staged", "trial", "committed"
    ]  # fmt: skip
    assert world.phases()[-1] == ("2.0.0", "committed", "2.0.0")
    versions = [one.version for one in world.reports()]
    assert versions[0] == "1.0.0"
    assert versions[-1] == "2.0.0"
    assert {"1.0.0", "2.0.0"} <= set(versions[1:5])
    assert world.events()[-2:] == [Reason.UPDATE_STARTED, Reason.UPDATE_COMMITTED]
    before = world.phases()
    world.hear(DESIRED, Desired(version=4, models=(DesiredModel(name="kws", version="3.0.0"),)))
    assert world.phases() == before


@pytest.mark.parametrize(
    ("fault", "end", "reason"),
    [
        ("fail-update:100%", "rejected", "golden-mismatch"),
        ("crash-update:100%", "failed", "trial-crashes"),
        ("stuck-update:100%", "downloading", None),
    ],
)
def test_an_update_fails_on_demand(fault: str, end: str, reason: str | None) -> None:
    world = World(fault)
    world.hear(DESIRED, Desired(version=1, models=(DesiredModel(name="kws", version="2.0.0"),)))
    world.until(30.0)
    last = world.of(Kind.REPORTED)[-1]
    assert isinstance(last, Reported)
    assert (last.models[0].phase, last.models[0].reason, last.models[0].serving) == (end, reason, "1.0.0")


def test_a_newer_wish_takes_the_place_of_an_update() -> None:
    world = World()
    world.hear(DESIRED, Desired(version=1, models=(DesiredModel(name="kws", version="2.0.0"),)))
    world.until(1.0)
    world.hear(DESIRED, Desired(version=2, models=(DesiredModel(name="kws", version="1.0.0"),)))
    world.until(30.0)
    assert world.phases()[-1] == ("1.0.0", "committed", "1.0.0")
    assert Reason.UPDATE_SUPERSEDED in world.events()


def test_a_version_that_is_slower_on_demand_shows_in_the_reports() -> None:
    world = World("slow-update:100%:50%")
    world.until(21.0)
    world.hear(DESIRED, Desired(version=1, models=(DesiredModel(name="kws", version="2.0.0"),)))
    world.until(80.0)
    old, new = ([one for one in world.reports() if one.version == name] for name in ("1.0.0", "2.0.0"))
    assert new[-1].latency.infer.quantile(0.5) > 1.25 * old[0].latency.infer.quantile(0.5)


def test_configuration_is_applied_or_refused_as_a_device_does() -> None:
    world = World()
    world.hear(DESIRED, Desired(version=1, configuration={"telemetry": {"window_s": 2}}))
    world.until(20.0)
    told = world.of(Kind.REPORTED)[-1]
    assert isinstance(told, Reported)
    assert told.configuration is not None
    assert told.configuration.status == "applied"
    assert len(world.reports()) >= 9
    world.hear(DESIRED, Desired(version=2, configuration={"broker": {"url": "mqtt://elsewhere"}}))
    told = world.of(Kind.REPORTED)[-1]
    assert isinstance(told, Reported)
    assert told.configuration is not None
    assert told.configuration.refused["broker.url"].reason == "key-not-remote"


def test_commands_are_answered_by_the_agents_rules() -> None:
    world = World()
    expires = at(60.0).ms
    for number, command in enumerate(
        (
            Command(operation="log-tail", arguments={"lines": 1}, expires_ms=expires),
            Command(operation="benchmark", arguments={"model": "kws", "runs": 50}, expires_ms=expires),
            Command(operation="benchmark", arguments={"model": "none"}, expires_ms=expires),
            Command(operation="dance", expires_ms=expires),
        )
    ):
        world.hear(f"ek/1/default/sim-00000/cmd/c{number}", command)
    world.until(10.0)
    results = [one for one in world.of(Kind.RESULT) if isinstance(one, Result)]
    assert [one.status for one in results] == ["done", "running", "refused", "refused", "running", "done"]
    assert len(results[0].result["log"]) == 1  # type: ignore[arg-type]  # a list on the wire
    timing = results[-1].result["timing"]
    assert isinstance(timing, dict)
    assert timing["runs"] == 50


def test_a_clock_that_jumps_changes_the_time_of_day_only() -> None:
    world = World()
    world.until(15.0)
    world.device.jump(-3600.0, at(15.0))
    world.until(40.0)
    reports = world.reports()
    assert reports[-1].ts_ms < reports[0].ts_ms
    assert [one.seq for one in reports] == sorted(one.seq for one in reports)
    assert Reason.CLOCK_JUMPED in world.events()


def test_a_farewell_ends_with_offline() -> None:
    world = World()
    world.until(12.0)
    world.take(world.device.farewell(at(12.0)), at(12.0))
    last = world.said[-1][1]
    assert isinstance(last, State)
    assert (last.state, last.why, last.birth) == ("offline", "stop", 1)
    assert world.events()[-1] == Reason.AGENT_STOPPED


def test_the_same_seed_says_the_same() -> None:
    worlds = [World(), World()]
    for world in worlds:
        world.until(50.0)
    assert worlds[0].said == worlds[1].said
    assert World(plan=replace(PLAN, seed=1)).device.boot != worlds[0].device.boot
