"""How a simulated device takes a desired state: the phases of a real agent, with their times. No I/O, no clock."""

from collections import deque
from collections.abc import Set as AbstractSet
from dataclasses import replace

from edgekit.fleet.simulate.faults import Kind
from edgekit_agent.actions import Now
from edgekit_agent.config import UpdateConfig
from edgekit_agent.protocol import Desired, DesiredModel, ModelPhase, Reason, RemoteState, Reported
from edgekit_agent.update.lease import Lease
from edgekit_agent.update.records import Phase
from edgekit_agent.update.telling import EVENTS

Told = tuple[str, Reason, dict[str, object]]
"""Level, code and detail of an event."""
_Stage = tuple[Phase, float | None, float]
"""What is reported, with which progress, and how many seconds it takes."""
_STAGED: _Stage = (Phase.STAGED, None, 0.1)
_FETCHED: tuple[_Stage, ...] = (
    (Phase.ANNOUNCED, None, 0.1),
    (Phase.CHECKING, None, 0.3),
    (Phase.DOWNLOADING, 0.0, 0.7),
    (Phase.DOWNLOADING, 0.5, 0.7),
    (Phase.VERIFYING, None, 0.3),
    _STAGED,
)
CRASHING_S = 1.0
LOOK_S = 0.05
PROVING_S = 0.5
"""A release that is gone back to is proved, and has no trial time."""


class Updates:
    """What one device runs of its model, and its way to what is wanted.

    With a lease it begins its trial, and keeps what it tried, only by the host's leave, by the agent's own rule
    (`edgekit_agent.update.lease`): one that is cut off at that moment gives up after its deadline.
    """

    def __init__(self, model: str, version: str, config: UpdateConfig, faults: AbstractSet[Kind]) -> None:
        """Take the name and version of the model it starts with, and how long steps may take."""
        self._model, self._config, self._faults = model, config, faults
        self.serving = version
        self._kept = {version}
        """What is on its disk and can be gone back to."""
        self._v = 0
        self._phase = ModelPhase(name=model, version=version, phase=Phase.COMMITTED, serving=version)
        self._strangers: dict[str, ModelPhase] = {}
        self._wish: DesiredModel | None = None
        self._lease, self._lease_s = Lease(), 0.0
        self._stages: deque[_Stage] = deque()
        self._takes_s = self._since_s = 0.0
        self._next_s: float | None = None
        self.changed = True
        """Whether there is something new to report."""

    @property
    def trying(self) -> str | None:
        """The version on trial, which works beside the one that serves."""
        return self._phase.version if self._phase.phase == Phase.TRIAL else None

    @property
    def next_s(self) -> float | None:
        """Return when `tick` has something to do."""
        return self._next_s

    def reported(self, configuration: RemoteState | None) -> Reported:
        """Return how everything stands."""
        self.changed = False
        return Reported(version=self._v, models=(self._phase, *self._strangers.values()), configuration=configuration)

    def started(self, now: Now) -> None:
        """Begin the step anew that the process before was at; what it had leave for, this one has not."""
        if self._next_s is not None:
            self._begin(now)

    # --- what the host says

    def desired(self, desired: Desired, now: Now) -> list[Told]:
        """Take what the host wants, or its leave; what is not newer changes nothing."""
        if desired.lease is not None:
            self._granted(desired, desired.lease, now)
            return []
        if desired.version <= self._v:
            return []
        self._v, self.changed = desired.version, True
        self._strangers = {
            one.name: ModelPhase(
                name=one.name, version=one.version, phase=Phase.REJECTED, reason=Reason.MODEL_UNKNOWN.value
            )
            for one in desired.models
            if one.name != self._model
        }
        mine = next((one for one in desired.models if one.name == self._model), None)
        return [] if mine is None else self._wanted(mine, desired.lease_s or 0.0, now)

    def _granted(self, desired: Desired, question: str, now: Now) -> None:
        if desired.version == self._v and self._lease.question is not None:
            self._lease.granted(question)
            self._next_s = now.s

    def _wanted(self, wanted: DesiredModel, lease_s: float, now: Now) -> list[Told]:
        self._lease_s = max(0.0, lease_s)
        if self._next_s is not None and wanted == self._wish:
            return []
        told = self._left_off()
        self._wish = wanted
        if wanted.version == self.serving:
            self._say(Phase.COMMITTED, version=wanted.version)
            return told
        back = bool(wanted.back) and wanted.version in self._kept
        trial_s = self._config.trial_s
        if back:
            trial_s = PROVING_S
        elif Kind.CRASH_UPDATE in self._faults:
            trial_s = CRASHING_S
        self._stages.extend([_STAGED] if back else _FETCHED)
        self._stages.append((Phase.TRIAL, None, trial_s))
        self._phase = replace(self._phase, version=wanted.version)
        told.append(("info", Reason.UPDATE_STARTED, {"version": wanted.version}))
        return [*told, *self._step(now)]

    def _left_off(self) -> list[Told]:
        """Give up what is on its way for something else: what is on trial is rolled back."""
        told: list[Told] = []
        if self._next_s is not None:
            end = Phase.FAILED if self.trying is not None else Phase.SUPERSEDED
            why: dict[str, object] = {"version": self._phase.version, "reason": Reason.UPDATE_SUPERSEDED.value}
            told.append((*EVENTS[end], why))
        self._stages.clear()
        self._next_s = None
        self._lease.drop()
        return told

    # --- its way

    def tick(self, now: Now) -> list[Told]:
        """Go on."""
        told: list[Told] = []
        while self._next_s is not None and now.s >= self._next_s:
            told += self._look(now)
        return told

    def _look(self, now: Now) -> list[Told]:
        """Take the next step when this one is done, and where it needs the host's leave, when there is that."""
        if self._phase.phase not in {Phase.STAGED, Phase.TRIAL} or not self._lease_s:
            return self._step(now)
        if now.s < self._since_s + self._takes_s:
            self._next_s = self._since_s + self._takes_s
            return []
        if self._crashes:  # what fails asks nobody
            return self._step(now)
        staged = self._phase.phase == Phase.STAGED
        deadline_s = self._since_s + (self._config.install_s if staged else self._config.trial_limit_s)
        if self._lease.held(now, self._lease_s):
            return self._step(now)
        if now.s >= deadline_s:
            return self._end(Phase.REJECTED if staged else Phase.FAILED, Reason.LEASE_MISSING)
        if self._phase.lease != self._lease.question:
            self._say(Phase(self._phase.phase), reason=Reason.LEASE_AWAITED)
        due_s = min(deadline_s, self._lease.next_time(self._lease_s) or deadline_s)
        self._next_s = max(due_s, now.s + LOOK_S)  # rounding must not let it look at one moment for ever
        return []

    @property
    def _crashes(self) -> bool:
        back = self._wish is not None and self._wish.back
        return self._phase.phase == Phase.TRIAL and Kind.CRASH_UPDATE in self._faults and not back

    def _step(self, now: Now) -> list[Told]:
        if not self._stages:
            return self._tried()
        phase, progress, self._takes_s = self._stages.popleft()
        self._lease.drop()
        self._say(phase, progress=progress)
        if phase is Phase.VERIFYING and Kind.FAIL_UPDATE in self._faults:
            return self._end(Phase.REJECTED, Reason.GOLDEN_MISMATCH)
        if phase is Phase.DOWNLOADING and progress and Kind.STUCK_UPDATE in self._faults:
            self._stages.clear()
            self._takes_s = float("inf")
        self._begin(now)
        return []

    def _begin(self, now: Now) -> None:
        self._lease.drop()
        self._since_s, self._next_s = now.s, now.s + self._takes_s
        if self._phase.lease is not None:
            self._say(Phase(self._phase.phase))

    def _tried(self) -> list[Told]:
        """The trial is over."""
        if self._crashes:
            crash: Told = ("error", Reason.WORKER_CRASHED, {"signal": "SIGSEGV", "version": self._phase.version})
            return [crash, *self._end(Phase.FAILED, Reason.TRIAL_CRASHES)]
        back = self._wish is not None and self._wish.back
        # what was left can be gone back to once, and what was gone back from cannot
        self._kept = {self._phase.version} if back else {self.serving, self._phase.version}
        self.serving = self._phase.version
        return self._end(Phase.COMMITTED, None)

    def _end(self, phase: Phase, reason: Reason | None) -> list[Told]:
        self._stages.clear()
        self._next_s = None
        self._lease.drop()
        self._say(phase, reason=reason)
        why = {} if reason is None else {"reason": reason.value}
        return [(*EVENTS[phase], {"version": self._phase.version, **why})]

    def _say(
        self, phase: Phase, *, version: str | None = None, progress: float | None = None, reason: Reason | None = None
    ) -> None:
        self._phase = ModelPhase(
            name=self._model,
            version=version or self._phase.version,
            phase=phase,
            reason=None if reason is None else reason.value,
            serving=self.serving,
            progress=progress,
            lease=self._lease.question,
        )
        self.changed = True
