"""Every phase of an update with everything that can go wrong in it: the old or the new model serves, always.

The table has Mender's shape: an error, a kill before and after the durable write, a hang, a full disk, a clock that
jumps back.
"""

from collections.abc import Callable

import pytest

from edgekit_agent.protocol import Reason
from edgekit_agent.update import rules
from edgekit_agent.update.records import Phase, Records
from edgekit_agent.update.rules import Act
from tests.agent.crash_states import CrashState, MemoryFiles, crash_states
from tests.agent.update_world import NAME, Device, Disk, Killed, Plan

OLD, NEW = "configured", "n" * 64
FORWARD = (
    Phase.ANNOUNCED, Phase.CHECKING, Phase.DOWNLOADING, Phase.VERIFYING, Phase.STAGED, Phase.TRIAL, Phase.COMMITTED,
    Phase.CLEANUP,
)  # fmt: skip
BACK = (Phase.ROLLING_BACK, Phase.FAILED)
PHASES = (*FORWARD, *BACK, Phase.REJECTED)
ENDS = (Phase.COMMITTED, Phase.CLEANUP)


def plan_to(phase: Phase) -> Plan:
    """Return what leads to a phase: nothing wrong, a trial that is lost, or a check that is refused."""
    if phase in BACK:
        return Plan(refused={Act.TRY: Reason.GOLDEN_MISMATCH})
    return Plan(refused={Act.CHECK: Reason.TARGET_UNKNOWN} if phase is Phase.REJECTED else {})


def expected(phase: Phase) -> tuple[str, tuple[str, str | None]]:
    """Return what serves in the end and how the update is said to have ended, where a phase is only interrupted."""
    if phase in BACK:
        return OLD, ("failed", "golden-mismatch")
    return (OLD, ("rejected", "target-unknown")) if phase is Phase.REJECTED else (NEW, ("committed", None))


def writes(phase: Phase, records: Records) -> bool:
    update = records.of(NAME).update
    return update is not None and update.phase == phase


def once(phase: Phase, fault: Callable[[Callable[[], None]], None]) -> Callable[[Records, Callable[[], None]], None]:
    """Return what does something at the first write of a phase, and writes otherwise."""
    done = [False]

    def at_write(records: Records, write: Callable[[], None]) -> None:
        if writes(phase, records) and not done[0]:
            done[0] = True
            fault(write)
        else:
            write()

    return at_write


def killed_before(_write: Callable[[], None]) -> None:
    raise Killed


def killed_after(write: Callable[[], None]) -> None:
    write()
    raise Killed


@pytest.mark.parametrize("fault", [killed_before, killed_after])
@pytest.mark.parametrize("phase", PHASES)
def test_a_kill_around_the_write_of_a_phase(phase: Phase, fault: Callable[[Callable[[], None]], None]) -> None:
    plan = plan_to(phase)
    plan.at_write = once(phase, fault)
    device = Device(plan=plan)
    serves, outcome = expected(phase)
    assert device.run() == serves
    assert device.outcome() == outcome
    assert device.starts == 2
    assert device.served <= {OLD, NEW}


ACTIVE = [phase for phase in PHASES if rules.STEPS[phase].act is not Act.NOTHING]


@pytest.mark.parametrize("phase", ACTIVE)
def test_an_error_in_a_phase(phase: Phase) -> None:
    plan = plan_to(phase)
    plan.refused = {**plan.refused, rules.STEPS[phase].act: Reason.BUNDLE_INVALID}
    _ends(Device(plan=plan), phase, Reason.BUNDLE_INVALID)


@pytest.mark.parametrize("phase", ACTIVE)
def test_a_hang_in_a_phase_ends_at_its_deadline(phase: Phase) -> None:
    plan = plan_to(phase)
    plan.hangs = frozenset({rules.STEPS[phase].act})
    _ends(Device(plan=plan), phase, Reason.DEADLINE_PASSED)


def _ends(device: Device, phase: Phase, reason: Reason) -> None:
    serves = device.run()
    if phase in ENDS:  # the choice is on the disk; at the latest after the next start it is carried out
        assert device.outcome() == ("committed", None)
        assert Device(device.disk).run() == NEW
    else:
        assert (serves, device.outcome()) == (OLD, _end_of(phase, reason))


def _end_of(phase: Phase, reason: Reason) -> tuple[str, str | None]:
    """Return how an update ends that fails in a phase; what led to a way back stays the reason."""
    if phase in BACK or phase is Phase.REJECTED:
        return expected(phase)[1]
    return ("failed" if phase is Phase.TRIAL else "rejected"), reason


@pytest.mark.parametrize("for_s", [300.0, None], ids=["for-a-while", "for-ever"])
@pytest.mark.parametrize("phase", PHASES)
def test_a_disk_that_is_full_at_the_write_of_a_phase(phase: Phase, for_s: float | None) -> None:
    """No step is taken that could not be written; that is all there is to say until there is room again."""
    plan = plan_to(phase)
    files = MemoryFiles()
    full_since: list[float] = []
    limit_s = 86400.0 if for_s is None else for_s

    def at_write(records: Records, write: Callable[[], None]) -> None:
        if writes(phase, records) and not full_since:
            full_since.append(device.ms)
        files.room = 0 if full_since and device.ms - full_since[0] < 1000 * limit_s else None
        write()

    plan.at_write = at_write
    device = Device(Disk(files), plan)
    serves = device.run()
    if phase is Phase.CLEANUP:
        assert (serves, device.outcome()) == (NEW, ("committed", None))
    else:
        assert serves == OLD
        assert device.outcome()[0] == ("failed" if phase in {Phase.TRIAL, Phase.COMMITTED, *BACK} else "rejected")
        assert device.outcome()[1] in {"disk-full", expected(phase)[1][1]}
    assert Device(device.disk).run() == serves


@pytest.mark.parametrize("phase", PHASES)
def test_a_clock_that_jumps_back_in_a_phase(phase: Phase) -> None:
    """The time of day by years, and the steady clock too, which no kernel does."""
    plan = plan_to(phase)
    device = Device(plan=plan)

    def jump(write: Callable[[], None]) -> None:
        write()
        device.seconds -= 500
        device.ms -= 20 * 365 * 86_400_000

    plan.at_write = once(phase, jump)
    serves, outcome = expected(phase)
    assert device.run() == serves
    assert device.outcome() == outcome


class TestLoops:
    """What comes round again and again is broken."""

    def test_a_device_that_reboots_in_every_trial_goes_back(self) -> None:
        def at_write(records: Records, write: Callable[[], None]) -> None:
            write()
            if writes(Phase.TRIAL, records):
                raise Killed

        device = Device(plan=Plan(at_write=at_write))
        assert device.run() == OLD
        assert device.outcome() == ("failed", "reboot-loop")
        assert device.starts == 4  # the trial began three times

    @pytest.mark.parametrize(("phase", "starts"), [(Phase.CHECKING, 6), (Phase.DOWNLOADING, 21), (Phase.VERIFYING, 6)])
    def test_an_agent_that_dies_in_a_phase_every_time_gives_the_update_up(self, phase: Phase, starts: int) -> None:
        def at_write(records: Records, write: Callable[[], None]) -> None:
            write()
            if writes(phase, records):
                raise Killed

        device = Device(plan=Plan(at_write=at_write))
        assert device.run() == OLD
        assert device.outcome() == ("rejected", "update-loop")
        assert device.starts == starts

    @pytest.mark.parametrize("phase", [Phase.COMMITTED, Phase.CLEANUP])
    def test_one_that_dies_every_time_after_the_commit_has_the_new_model(self, phase: Phase) -> None:
        def at_write(records: Records, write: Callable[[], None]) -> None:
            write()
            if writes(phase, records):
                raise Killed

        device = Device(plan=Plan(at_write=at_write))
        assert device.run() == NEW
        assert device.outcome() == ("committed", None)

    def test_a_release_that_was_rolled_back_is_not_tried_again_when_something_else_is_announced(self) -> None:
        device = Device(plan=Plan(refused={Act.TRY: Reason.GOLDEN_MISMATCH}))
        device.run(1)
        device.plan.refused = {}
        assert device.run(2) == OLD
        assert device.outcome() == ("failed", "golden-mismatch")
        assert device.record.outcome is not None
        assert device.record.outcome.v == 2

    def test_one_that_was_rejected_is_tried_again_when_it_is_announced_again(self) -> None:
        device = Device(plan=Plan(refused={Act.CHECK: Reason.METADATA_EXPIRED}))
        device.run(1)
        device.plan.refused = {}
        assert device.run(1) == OLD
        assert device.run(2) == NEW


def test_a_repository_that_is_away_for_an_hour_does_not_end_an_update() -> None:
    device = Device(plan=Plan(refused={Act.FETCH: Reason.REPOSITORY_UNREACHABLE}))
    began = device.ms
    device.plan.refused_until_ms = began + 3_600_000
    assert device.run() == NEW
    assert device.ms - began >= 3_600_000


def _run_of(plan: Plan) -> tuple[MemoryFiles, list[dict[str, str | None]]]:
    """Run an update; return what was written, and the slots as they were at each moment."""
    disk = Disk()
    slots: list[dict[str, str | None]] = []

    def at_write(_records: Records, write: Callable[[], None]) -> None:
        slots.append(dict(disk.slots))
        disk.files.mark(len(slots) - 1)
        write()

    plan.at_write = at_write
    Device(disk, plan).run()
    return disk.files, slots


@pytest.mark.parametrize(
    ("plan", "least"), [(Plan(), 60), (Plan(refused={Act.TRY: Reason.GOLDEN_MISMATCH}), 60)], ids=["good", "lost"]
)
def test_after_a_power_cut_at_any_moment_the_old_or_the_new_model_serves_and_the_update_comes_to_an_end(
    plan: Plan, least: int
) -> None:
    refused = dict(plan.refused)
    files, slots = _run_of(plan)
    count, bad = 0, []
    for state in crash_states(files.log, every_byte=8):
        count += 1
        wrong = _look_at(state, slots, refused)
        if wrong:
            bad.append(wrong)
    assert bad == []
    assert count >= least


def _look_at(state: CrashState, slots: list[dict[str, str | None]], refused: dict[Act, Reason]) -> str | None:
    at = state.promised if isinstance(state.promised, int) else 0
    disk = Disk(MemoryFiles.holding(state.files), dict(slots[at]))
    device = Device(disk, Plan(refused=refused))
    try:
        serves = device.run()
    except AssertionError as exc:
        return str(exc)
    wanted = OLD if refused else NEW
    return None if serves == wanted else f"{serves} serves after {sorted(state.files)}"


def test_slots_are_taken_in_turns_and_the_one_that_serves_is_never_written_to() -> None:
    disk = Disk()
    for number, version in enumerate(("2.0.0", "2.1.0", "2.2.0", "2.3.0"), 1):
        device = Device(disk, sha256=str(number) * 64)
        assert device.run(number, version) == str(number) * 64
        assert device.record.current is not None
        assert device.record.current.slot == ("a" if number % 2 else "b")
