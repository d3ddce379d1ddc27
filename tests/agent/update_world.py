"""A device in memory for the tests of updates: what its disk holds, what serves, and hands that do what a test says.

The disk is `MemoryFiles`, which records every durable write; the slots are kept beside it. Time passes in leaps.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from edgekit_agent.actions import Now
from edgekit_agent.config import UpdateConfig
from edgekit_agent.protocol import Desired, DesiredModel, Reason
from edgekit_agent.update.records import Record, Records
from edgekit_agent.update.rules import Act
from edgekit_agent.update.store import Store
from edgekit_agent.update.updater import Done, Refused, Updater
from tests.agent.crash_states import MemoryFiles

HERE = Path("/state")
NAME = "kws"
CONFIG = UpdateConfig(repository="file:///stick", trial_s=60)
LONGEST_S = 7 * 86400.0
LEAP_S = 10.0


class Killed(BaseException):
    """The process is gone."""


@dataclass
class Disk:
    """What survives: `state.json` and the slots, by the digest of a whole bundle, None while one is being written."""

    files: MemoryFiles = field(default_factory=MemoryFiles)
    slots: dict[str, str | None] = field(default_factory=dict)

    def boots(self, record: Record) -> str:
        """Return what an agent starts with: the rule of `update.serving` without its files."""
        found = (one for one in (record.current, record.previous) if one and self.slots.get(one.slot) == one.sha256)
        return next((one.sha256 for one in found), "configured")


@dataclass
class Plan:
    """What goes wrong: acts that are refused or never end, and what happens at a durable write."""

    refused: Mapping[Act, Reason] = field(default_factory=dict)
    refused_until_ms: int | None = None
    hangs: frozenset[Act] = frozenset()
    at_write: Callable[[Records, Callable[[], None]], None] = lambda _records, write: write()


class WatchedStore(Store):
    """The real store, with what a plan does to its writes."""

    def __init__(self, files: MemoryFiles, plan: Plan) -> None:
        """Take the disk."""
        super().__init__(HERE, files)
        self._plan = plan

    def save(self, records: Records) -> None:
        write = super().save
        self._plan.at_write(records, lambda: write(records))


class Hands:
    """Does nothing at once and everything at the next look, on the disk in memory."""

    def __init__(self, disk: Disk, plan: Plan, sha256: str) -> None:
        """Take what the repository has."""
        self._disk, self._plan, self._sha256 = disk, plan, sha256
        self._act: Act | None = None
        self._slot = ""
        self.running = ""
        self.trial: str | None = None

    def begin(self, act: Act, name: str, records: Records, now: Now) -> None:  # noqa: ARG002  # the port's arguments
        update = records.of(name).update
        assert update is not None
        self._act, self._slot = act, update.slot or ""
        if act is Act.INSTALL and self._disk.slots.get(self._slot) != self._sha256:
            self._disk.slots[self._slot] = None
        if act is Act.TRY:
            self.trial = self._disk.slots.get(self._slot) if update.slot is not None else "configured"

    def poll(self, now: Now) -> Done | Refused | None:
        assert self._act is not None
        if self._act in self._plan.hangs:
            return None
        until = self._plan.refused_until_ms
        if self._act in self._plan.refused and (until is None or now.ms < until):
            return Refused(reason=self._plan.refused[self._act], detail={"text": "as planned"})
        return self._do(self._act)

    def _do(self, act: Act) -> Done | Refused:
        match act:
            case Act.CHECK | Act.FETCH:
                return Done(found={"sha256": self._sha256, "counter": 2})
            case Act.INSTALL:
                self._disk.slots[self._slot] = self._sha256
            case Act.TRY if self.trial is None:
                return Refused(reason=Reason.SLOT_DAMAGED, detail={})
            case Act.PROMOTE:
                self.running, self.trial = self.trial or self.running, None
            case Act.DISMISS:
                self.trial = None
        return Done()

    def stop(self, now: Now) -> None:  # noqa: ARG002  # the port's argument
        self._act, self.trial = None, None


class Device:
    """An agent's updates on a disk, through as many processes as are killed."""

    def __init__(self, disk: Disk | None = None, plan: Plan | None = None, sha256: str = "n" * 64) -> None:
        """Start the first process."""
        self.disk, self.plan, self.sha256 = disk or Disk(), plan or Plan(), sha256
        self.seconds, self.ms = 1000.0, 1_700_000_000_000
        self.starts = 0
        self.served: set[str] = set()
        self._up = False

    @property
    def now(self) -> Now:
        return Now(s=self.seconds, ms=self.ms)

    def _start(self) -> None:
        """Start a process: after a reboot the steady clock begins anew."""
        self.starts += 1
        assert self.starts < 200, "it starts again and again"
        self.seconds = 1000.0 * (self.starts % 3)
        store = WatchedStore(self.disk.files, self.plan)
        self.hands = Hands(self.disk, self.plan, self.sha256)
        self.updater = Updater(CONFIG, frozenset({NAME}), store, self.hands)
        self.hands.running = self.disk.boots(self.updater.records.of(NAME))
        self._look()
        self.updater.start(self.now)
        self._up = True

    def _look(self) -> None:
        """Check what must hold at every moment: something whole serves."""
        whole = {"configured", *(one for one in self.disk.slots.values() if one is not None)}
        assert self.hands.running in whole, f"{self.hands.running} serves, whole are {whole}"
        self.served.add(self.hands.running)

    def run(self, v: int = 1, version: str = "2.0.0") -> str:
        """Announce a version (a broker does so at each start, too) and let time pass until nothing is left to do."""
        desired = Desired(version=v, models=(DesiredModel(name=NAME, version=version),))
        announced, began = False, 0.0
        while began < LONGEST_S:
            try:
                if not self._up:
                    self._start()
                    announced = False
                if not announced:
                    announced = True
                    self.updater.desired(desired, self.now)
                self._look()
                self.updater.tick(self.now)
                self._look()
            except Killed:
                self._up = False
                continue
            if self.updater.idle and self.updater.next_time() is None:
                return self.hands.running
            self.seconds += LEAP_S
            self.ms += int(1000 * LEAP_S)
            began += LEAP_S
        raise AssertionError(f"stuck in {self.record.update}")

    @property
    def record(self) -> Record:
        return self.updater.records.of(NAME)

    def outcome(self) -> tuple[str, str | None]:
        """Return how the update ended, and why."""
        assert self.record.outcome is not None
        return self.record.outcome.phase, self.record.outcome.reason
