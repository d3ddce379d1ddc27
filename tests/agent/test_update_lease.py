"""A release that is rolled out with a lease: it is tried and kept by the host's leave, given after it was asked for."""

from collections.abc import Callable

import pytest

from edgekit_agent.actions import Now
from edgekit_agent.protocol import Desired, DesiredModel
from edgekit_agent.update.records import Phase
from edgekit_agent.update.store import Store
from edgekit_agent.update.updater import Updater
from tests.agent.crash_states import MemoryFiles
from tests.agent.update_world import CONFIG, HERE, NAME, Disk, Hands, Plan

LEASE_S = 30.0


class Asking:
    """An updater with memory for a disk, whose time passes when a test says so."""

    def __init__(self, *, configured: str = "1.2.0") -> None:
        """Start it."""
        self.s = 1000.0
        self.disk, self.files = Disk(), MemoryFiles()
        self.hands = Hands(self.disk, Plan(), "n" * 64)
        store = Store(HERE, self.files)
        self.updater = Updater(CONFIG, frozenset({NAME}), store, self.hands, {NAME: configured})
        self.updater.start(self.now)

    @property
    def now(self) -> Now:
        return Now(s=self.s, ms=0)

    def wants(self, v: int, version: str, *, lease_s: float | None = LEASE_S, back: bool | None = None) -> None:
        model = DesiredModel(name=NAME, version=version, back=back)
        self.updater.desired(Desired(version=v, models=(model,), lease_s=lease_s), self.now)

    def wait(self, seconds: float) -> None:
        """Let time pass, a second at a time."""
        for _ in range(int(seconds)):
            self.s += 1
            self.updater.tick(self.now)

    def until(self, done: Callable[[], bool], seconds: float = 60) -> None:
        for _ in range(int(seconds)):
            if done():
                return
            self.wait(1)
        raise AssertionError(f"it is {self.phase}")

    @property
    def phase(self) -> str | None:
        update = self.updater.records.of(NAME).update
        return update.phase if update is not None else None

    @property
    def ended(self) -> tuple[str, str | None]:
        outcome = self.updater.records.of(NAME).outcome
        assert outcome is not None
        return outcome.phase, outcome.reason

    def question(self) -> str:
        self.until(lambda: self.updater.lease.question is not None)
        assert self.updater.lease.question is not None
        return self.updater.lease.question

    def grant(self) -> None:
        self.updater.lease.granted(self.question())
        self.wait(1)


def test_it_asks_before_the_trial_and_again_before_it_keeps_the_release() -> None:
    device = Asking()
    device.wants(1, "2.0.0")
    device.until(lambda: device.phase == Phase.STAGED)
    device.wait(20)
    assert device.phase == Phase.STAGED
    first = device.question()
    device.grant()
    device.wait(20)
    assert device.phase == Phase.TRIAL  # the leave to try it is no leave to keep it
    assert device.question() != first
    device.grant()
    device.until(lambda: device.phase is None)
    assert device.ended == ("committed", None)


def test_a_question_is_put_anew_when_it_is_too_old_and_late_answers_are_none() -> None:
    device = Asking()
    device.wants(1, "2.0.0")
    old = device.question()
    device.wait(LEASE_S + 2)
    assert device.question() != old
    device.updater.lease.granted(old)
    device.wait(5)
    assert device.phase == Phase.STAGED


def test_leave_that_comes_after_the_time_of_its_question_is_none() -> None:
    device = Asking()
    device.wants(1, "2.0.0")
    question = device.question()
    device.s += LEASE_S  # the answer was on its way for as long, in a buffer of some network
    device.updater.lease.granted(question)
    device.updater.tick(device.now)
    assert device.phase == Phase.STAGED


@pytest.mark.parametrize(("leaves", "end"), [(0, "rejected"), (1, "failed")])
def test_without_leave_it_is_given_up_after_its_deadline_and_may_be_told_again(leaves: int, end: str) -> None:
    device = Asking()
    device.wants(1, "2.0.0")
    for _ in range(leaves):
        device.grant()
    device.until(lambda: device.phase is None, CONFIG.install_s + CONFIG.trial_limit_s)
    assert device.ended == (end, "lease-missing")
    device.wants(2, "2.0.0")
    device.until(lambda: device.phase == Phase.STAGED)


def test_an_abort_is_obeyed_while_it_waits_to_keep_the_release() -> None:
    device = Asking()
    device.wants(1, "2.0.0")
    device.grant()
    device.until(lambda: device.updater.lease.question is not None)
    device.wants(2, "1.2.0", lease_s=None, back=True)
    device.until(lambda: device.phase is None)
    assert device.hands.trial is None
    assert device.updater.records.of(NAME).current is None
    assert device.ended == ("committed", None)  # of 1.2.0, which has served all the time


def test_what_was_kept_is_left_for_the_configured_model_without_fetching() -> None:
    device = Asking()
    device.wants(1, "2.0.0", lease_s=None)
    device.until(lambda: device.phase is None)
    record = device.updater.records.of(NAME)
    assert record.current is not None
    device.wants(2, "1.2.0", lease_s=None, back=True)
    device.until(lambda: device.updater.records.of(NAME).current is None)
    record = device.updater.records.of(NAME)
    assert (record.previous, record.left) == (None, "n" * 64)


def test_without_being_told_to_go_back_an_older_version_is_fetched_like_any_other() -> None:
    device = Asking()
    device.wants(1, "2.0.0", lease_s=None)
    device.until(lambda: device.phase is None)
    device.wants(2, "1.2.0", lease_s=None)
    phases = set()
    for _ in range(10):
        phases.add(device.phase)
        device.wait(1)
    assert Phase.DOWNLOADING in phases
