"""What follows from what in a rollout: values in, values out."""

from collections.abc import Sequence
from dataclasses import replace

import pytest

from edgekit.errors import UsageError
from edgekit.fleet.rollout import machine
from edgekit.fleet.rollout.findings import Finding, Mark
from edgekit.fleet.rollout.machine import Action, Moment, Note, Seen, Tell, advance
from edgekit.fleet.rollout.plan import Key, Plan, Release, canary_of, spread, waves_of
from edgekit.fleet.rollout.state import JobStatus, State, Status, Step

OLD, NEW = Release(model="kws", version="1.2.0"), Release(model="kws", version="2.0.0")
KEYS: tuple[Key, ...] = tuple(("lab", f"dev-{number}") for number in range(6))
PLAN = Plan(release=NEW, waves=(KEYS[:2], KEYS[2:]), bake_s=60, bake_limit_s=600, device_s=120, max_concurrent=3)
GOOD = (Finding(gate="e2e-p99", mark=Mark.GOOD, text="+0.1%"),)
BAD = (Finding(gate="e2e-p99", mark=Mark.BAD, text="+10%"),)
OPEN = (Finding(gate="e2e-p99", mark=Mark.OPEN, text="too little"),)


class World:
    """A rollout with devices that a test lets answer, and a clock that a test moves."""

    def __init__(self, plan: Plan = PLAN) -> None:
        """Begin it; every device is there and serves the old release."""
        self.plan, self.now_ms = plan, 1_000_000
        self.seen = {key: Seen(online=True, serving="1.2.0") for key in KEYS}
        self.state = machine.begun(plan, dict.fromkeys(KEYS, OLD), self.now_ms)
        self.done: list[Action] = []
        self.v = 0

    def turn(self, findings: Sequence[Finding] = (), after_s: float = 1, *, hears: bool = True) -> list[Action]:
        self.now_ms += int(after_s * 1000)
        return self.take(advance(self.plan, self.state, self.seen, findings, Moment(ms=self.now_ms, hears=hears)))

    def take(self, result: tuple[State, list[Action]]) -> list[Action]:
        """Keep a result as the store does, which numbers what is told."""
        self.state, actions = result
        jobs = dict(self.state.jobs)
        for one in actions:
            if isinstance(one, Tell):
                self.v += 1
                jobs[one.key] = replace(jobs[one.key], v=self.v)
        self.state = replace(self.state, jobs=jobs)
        self.done += actions
        return actions

    def answers(self, key: Key, phase: str, serving: str = "", reason: str = "") -> None:
        job = self.state.jobs[key]
        version = "1.2.0" if job.status is JobStatus.GOING_BACK else "2.0.0"
        serving = serving or (version if phase == "committed" else self.seen[key].serving)
        self.seen[key] = Seen(online=True, v=job.v, version=version, phase=phase, serving=serving, reason=reason)

    def takes_wave(self) -> None:
        """Let every device that is told take what it is told, until all have ended."""
        for _ in range(10):
            self.turn()
            for key, job in self.state.jobs.items():
                if job.status is JobStatus.TOLD:
                    self.answers(key, "committed")
            if self.state.step is Step.BAKING:
                return

    def stands(self) -> Status:
        return self.state.status

    def statuses(self) -> list[str]:
        return [job.status.value for job in self.state.jobs.values()]


def told(actions: Sequence[Action]) -> list[tuple[Key, str, bool]]:
    return [(one.key, one.release.version if one.release else "", one.back) for one in actions if isinstance(one, Tell)]


def test_a_good_release_goes_from_wave_to_wave_until_all_have_it() -> None:
    world = World()
    assert [key for key, *_ in told(world.turn())] == list(KEYS[:2])
    world.takes_wave()
    assert world.statuses() == ["committed", "committed", *["waiting"] * 4]
    world.turn(GOOD, after_s=59)
    assert world.state.wave == 0
    world.turn(GOOD, after_s=2)
    assert [key for key, *_ in told(world.turn())] == list(KEYS[2:5])  # three at a time
    world.takes_wave()
    world.turn(GOOD, after_s=61)
    assert (world.state.status, set(world.statuses())) == (Status.COMPLETED, {"committed"})


def test_a_bad_finding_takes_every_told_device_back_to_what_it_served_and_tells_no_other() -> None:
    world = World()
    world.takes_wave()
    actions = world.turn(BAD)
    assert told(actions) == [(key, "1.2.0", True) for key in KEYS[:2]]
    assert world.stands() is Status.ROLLING_BACK
    assert world.state.reason == "e2e-p99: +10%"
    assert world.statuses() == ["going-back"] * 2 + ["skipped"] * 4
    world.answers(KEYS[0], "committed")
    world.turn()
    assert world.stands() is Status.ROLLING_BACK
    world.answers(KEYS[1], "committed")
    world.turn()
    assert (world.state.status, world.statuses()[:2]) == (Status.ROLLED_BACK, ["back"] * 2)


def test_what_has_failed_on_its_own_is_told_the_old_release_too_so_that_it_is_not_tried_again() -> None:
    world = World()
    world.turn()
    world.answers(KEYS[0], "failed", reason="golden-mismatch")
    world.turn()
    assert world.state.jobs[KEYS[0]].reason == "golden-mismatch"
    assert [key for key, *_ in told(world.turn(BAD))] == list(KEYS[:2])


def test_on_bad_stop_leaves_what_was_taken() -> None:
    world = World(replace(PLAN, on_bad="stop"))
    world.turn()
    world.answers(KEYS[0], "committed")
    world.turn()
    assert [key for key, *_ in told(world.turn(BAD))] == [KEYS[1]]
    assert world.statuses()[0] == "committed"


@pytest.mark.parametrize(("there", "status"), [(True, "late"), (False, "away")])
def test_a_device_whose_time_is_over_is_late_if_it_is_there_and_otherwise_away(there: bool, status: str) -> None:
    world = World()
    world.seen[KEYS[0]] = replace(world.seen[KEYS[0]], online=there)
    world.turn()
    world.turn(after_s=121)
    assert world.statuses()[0] == status
    assert world.state.jobs[KEYS[0]].reason
    world.answers(KEYS[0], "committed")  # weeks later
    world.turn()
    assert world.statuses()[0] == "committed"


def test_no_time_is_over_for_devices_that_the_service_could_not_hear() -> None:
    world = World()
    world.turn()
    world.turn(after_s=3600, hears=False)  # it was away, and they may have taken it long ago
    assert world.statuses()[:2] == ["told"] * 2
    for key in KEYS[:2]:
        world.answers(key, "committed")
    world.turn(hears=False)
    assert (world.statuses()[:2], world.state.step) == (["committed"] * 2, Step.BAKING)
    world.turn(OPEN, after_s=3600, hears=False)  # what they have measured meanwhile is still to come
    assert world.stands() is Status.RUNNING
    world.turn(OPEN)
    assert world.stands() is Status.PAUSED


def test_devices_that_go_back_have_their_time_over_only_when_they_can_be_heard() -> None:
    world = World()
    world.takes_wave()
    world.turn(BAD)
    world.turn(after_s=3600, hears=False)
    assert world.statuses()[:2] == ["going-back"] * 2
    world.turn()
    assert world.statuses()[:2] == ["back-late"] * 2


def test_a_device_that_comes_back_after_the_rollout_is_over_converges() -> None:
    world = World(replace(PLAN, waves=(KEYS[:2],)))
    world.seen[KEYS[1]] = replace(world.seen[KEYS[1]], online=False)
    world.turn()
    world.answers(KEYS[0], "committed")
    world.turn(after_s=121)
    world.turn(GOOD, after_s=61)
    assert world.stands() is Status.COMPLETED
    assert world.state.grants(KEYS[1])
    world.answers(KEYS[1], "committed")
    world.turn(after_s=3e6)
    assert world.statuses()[:2] == ["committed", "committed"]


def test_a_device_that_is_away_when_it_is_to_go_back_goes_back_when_it_comes() -> None:
    world = World(replace(PLAN, waves=(KEYS[:2],)))
    world.takes_wave()
    world.seen[KEYS[1]] = replace(world.seen[KEYS[1]], online=False)
    world.turn(BAD)
    assert not world.state.grants(KEYS[0])
    world.answers(KEYS[0], "committed")
    world.turn(after_s=121)
    assert (world.state.status, world.statuses()[:2]) == (Status.ROLLED_BACK, ["back", "back-away"])
    job = world.state.jobs[KEYS[1]]
    world.seen[KEYS[1]] = Seen(online=True, v=job.v, version="1.2.0", phase="committed", serving="1.2.0")
    world.turn(after_s=3e6)
    assert world.statuses()[:2] == ["back", "back"]


def test_too_little_to_judge_by_waits_and_then_pauses_with_the_reason() -> None:
    world = World()
    world.takes_wave()
    world.turn(OPEN, after_s=61)
    assert world.stands() is Status.RUNNING
    world.turn(OPEN, after_s=600)
    assert world.stands() is Status.PAUSED
    assert "too little" in world.state.reason
    world.take(machine.approve(world.plan, world.state, "looked at", world.now_ms))  # somebody has looked
    assert (world.state.status, world.state.wave) == (Status.RUNNING, 1)


def test_a_wave_nobody_took_is_not_passed() -> None:
    world = World()
    for key in KEYS[:2]:
        world.seen[key] = replace(world.seen[key], online=False)
    world.turn()
    world.turn(after_s=121)
    world.turn(after_s=61)
    world.turn(after_s=601)
    assert world.stands() is Status.PAUSED
    assert "no device" in world.state.reason


def test_pause_lets_no_device_begin_and_resume_gives_their_time_again() -> None:
    world = World()
    world.turn()
    assert world.state.grants(KEYS[0])
    world.take(machine.pause(world.plan, world.state, "lunch", world.now_ms))
    assert not world.state.grants(KEYS[0])
    world.turn(after_s=5000)
    assert world.statuses()[0] == "told"
    world.take(machine.resume(world.plan, world.state, "back from lunch", world.now_ms))
    world.turn(after_s=100)
    assert world.statuses()[0] == "told"
    assert world.state.grants(KEYS[0])


def test_a_wave_that_needs_approval_waits_for_it_and_not_for_ever() -> None:
    world = World(replace(PLAN, approve=(0,)))
    world.takes_wave()
    world.turn(GOOD, after_s=61)
    assert world.stands() is Status.APPROVAL
    approved = machine.approve(world.plan, world.state, "looked at", world.now_ms)[0]
    assert (approved.status, approved.wave) == (Status.RUNNING, 1)
    world.turn(after_s=PLAN.pause_limit_s + 1)
    assert world.stands() is Status.STOPPED
    assert "nobody decided" in world.state.reason


def test_a_paused_rollout_is_still_aborted_by_what_the_gates_find() -> None:
    world = World()
    world.takes_wave()
    world.take(machine.pause(world.plan, world.state, "lunch", world.now_ms))
    world.turn(BAD)
    assert world.stands() is Status.ROLLING_BACK


def test_a_device_the_host_did_not_answer_in_time_is_told_again_and_given_up_after_three_times() -> None:
    world = World()
    for _ in range(3):
        world.turn()
        world.answers(KEYS[0], "rejected", reason="lease-missing")
    world.turn()
    assert world.state.jobs[KEYS[0]].status is JobStatus.REJECTED
    assert [key for key, *_ in told(world.done)].count(KEYS[0]) == 3


def test_what_was_reported_of_an_earlier_announcement_says_nothing() -> None:
    world = World()
    world.turn()
    world.seen[KEYS[0]] = Seen(online=True, v=world.state.jobs[KEYS[0]].v - 1, version="2.0.0", phase="failed")
    world.turn()
    assert world.statuses()[0] == "told"


def test_somebody_else_who_announces_is_noticed() -> None:
    world = World()
    world.turn()
    world.seen[KEYS[0]] = Seen(online=True, v=99, foreign=True, version="3.0.0", phase="committed", serving="3.0.0")
    world.turn()
    assert world.state.jobs[KEYS[0]].status is JobStatus.REJECTED
    assert "somebody else" in world.state.jobs[KEYS[0]].reason


def test_a_rollout_that_is_over_can_be_rolled_back() -> None:
    world = World(replace(PLAN, waves=(KEYS[:2],)))
    world.takes_wave()
    world.turn(GOOD, after_s=61)
    actions = world.take(machine.rollback(world.plan, world.state, "asked for", world.now_ms))
    assert [key for key, *_ in told(actions)] == list(KEYS[:2])


def test_every_change_of_a_device_and_of_the_rollout_is_noted() -> None:
    world = World()
    world.takes_wave()
    world.turn(BAD)
    found = [one.what for one in world.done if isinstance(one, Note)]
    assert found[:2] == ["device-committed"] * 2
    assert "aborted" in found


def test_waves_grow_and_canaries_have_each_kind_of_hardware() -> None:
    assert [len(wave) for wave in waves_of([("a", str(n)) for n in range(100)], 5)] == [5, 20, 75]
    kinds = {("a", f"{n:03}"): "pi" if n % 4 else "nuc" for n in range(100)}
    first = [kinds[key] for key in spread(kinds, "seed")[:8]]
    assert (first.count("pi"), first.count("nuc")) == (6, 2)
    assert spread(kinds, "one") != spread(kinds, "other")


@pytest.mark.parametrize(
    ("text", "devices", "canary"), [("5", 100, 5), ("5%", 100, 5), ("1%", 10, 1), ("0", 9, 0), ("9", 5, 4)]
)
def test_a_canary_is_a_number_or_a_percentage(text: str, devices: int, canary: int) -> None:
    assert canary_of(text, devices) == canary


@pytest.mark.parametrize("text", ["", "x", "-1", "200%", "5 %x"])
def test_what_is_neither_is_refused(text: str) -> None:
    with pytest.raises(UsageError):
        canary_of(text, 10)
