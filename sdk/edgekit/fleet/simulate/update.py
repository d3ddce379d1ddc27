"""How a simulated device takes a desired state: the phases of a real agent, with their times. No I/O, no clock."""

from collections import deque
from collections.abc import Set as AbstractSet
from dataclasses import replace

from edgekit.fleet.simulate.faults import Kind
from edgekit_agent.protocol import Desired, DesiredModel, ModelPhase, Reason, RemoteState, Reported
from edgekit_agent.update.records import Phase
from edgekit_agent.update.telling import EVENTS

Told = tuple[str, Reason, dict[str, object]]
"""Level, code and detail of an event."""
_Stage = tuple[float, Phase, float | None]
"""After so many seconds, what is reported, with which progress."""
_WAY: tuple[_Stage, ...] = (
    (0.0, Phase.ANNOUNCED, None),
    (0.1, Phase.CHECKING, None),
    (0.3, Phase.DOWNLOADING, 0.0),
    (0.7, Phase.DOWNLOADING, 0.5),
    (0.7, Phase.VERIFYING, None),
    (0.3, Phase.STAGED, None),
    (0.1, Phase.TRIAL, None),
)
CRASHING_S = 1.0


class Updates:
    """What one device runs of its model, and its way to what is wanted."""

    def __init__(self, model: str, version: str, trial_s: float, faults: AbstractSet[Kind]) -> None:
        """Take the name and version of the model it starts with."""
        self._model, self._trial_s, self._faults = model, trial_s, faults
        self.serving = version
        self._v = 0
        self._phase = ModelPhase(name=model, version=version, phase=Phase.COMMITTED, serving=version)
        self._strangers: dict[str, ModelPhase] = {}
        self._stages: deque[_Stage] = deque()
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

    def desired(self, desired: Desired, now_s: float) -> list[Told]:
        """Take what the host wants; what is not newer changes nothing."""
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
        return [] if mine is None else self._wanted(mine, now_s)

    def _wanted(self, wanted: DesiredModel, now_s: float) -> list[Told]:
        if self._next_s is not None and wanted.version == self._phase.version:
            return []
        told: list[Told] = []
        if self._next_s is not None:
            superseded: dict[str, object] = {"version": self._phase.version, "reason": Reason.UPDATE_SUPERSEDED.value}
            told.append((*EVENTS[Phase.SUPERSEDED], superseded))
        self._stages.clear()
        if wanted.version == self.serving:
            self._say(Phase.COMMITTED, version=wanted.version)
            self._next_s = None
            return told
        self._stages.extend(_WAY)
        self._phase = replace(self._phase, version=wanted.version)
        told.append(("info", Reason.UPDATE_STARTED, {"version": wanted.version}))
        return [*told, *self._step(now_s)]

    def tick(self, now_s: float) -> list[Told]:
        """Go on."""
        told: list[Told] = []
        while self._next_s is not None and now_s >= self._next_s:
            told += self._step(now_s)
        return told

    def _step(self, now_s: float) -> list[Told]:
        if not self._stages:
            return self._ended()
        _, phase, progress = self._stages.popleft()
        self._say(phase, progress=progress)
        if phase is Phase.VERIFYING and Kind.FAIL_UPDATE in self._faults:
            return self._end(Phase.REJECTED, Reason.GOLDEN_MISMATCH)
        if phase is Phase.DOWNLOADING and progress and Kind.STUCK_UPDATE in self._faults:
            self._stages.clear()
            self._next_s = float("inf")
            return []
        trial_s = CRASHING_S if Kind.CRASH_UPDATE in self._faults else self._trial_s
        self._next_s = now_s + (self._stages[0][0] if self._stages else trial_s)
        return []

    def _ended(self) -> list[Told]:
        """The trial is over."""
        if Kind.CRASH_UPDATE in self._faults:
            crash: Told = ("error", Reason.WORKER_CRASHED, {"signal": "SIGSEGV", "version": self._phase.version})
            return [crash, *self._end(Phase.FAILED, Reason.TRIAL_CRASHES)]
        self.serving = self._phase.version
        return self._end(Phase.COMMITTED, None)

    def _end(self, phase: Phase, reason: Reason | None) -> list[Told]:
        self._stages.clear()
        self._next_s = None
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
        )
        self.changed = True
