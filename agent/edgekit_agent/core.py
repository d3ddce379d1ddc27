"""The agent's rules: crews, presence. No I/O and no clock; what has to be done comes back as actions."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.actions import Action, Now, Send, Teller, WorkerId
from edgekit_agent.config import AgentConfig, ModelConfig, TelemetryConfig
from edgekit_agent.crew import Crew
from edgekit_agent.protocol import Info, InstalledModel, Kind, Reason, State
from edgekit_agent.remote import needs_restart

SAY_LOST_S = 60.0  # a broker that is away for hours must not fill the events with lost reports
JUMP_MS = 1000.0
"""Between two turns, a few seconds apart; a clock that is steered moves a few milliseconds."""


class Core:
    """The state of one agent process."""

    def __init__(
        self,
        config: AgentConfig,
        boot: str,
        hardware: Mapping[str, object],
        runtimes: Mapping[str, str],
        over: Callable[[ModelConfig], ModelConfig] = lambda release: release,
    ) -> None:
        """Take the configuration, this process's random id, what the device is, and what is set over a release."""
        self.config, self.boot, self._over = config, boot, over
        self._hardware, self._runtimes = dict(hardware), dict(runtimes)
        self._teller = Teller(boot)
        self._crews: dict[int, Crew] = {}
        self._current: dict[str, Crew] = {}
        self._plain: dict[int, ModelConfig] = {}
        self._releases = 0
        self._birth: int | None = None
        self._next_heartbeat = 0.0
        self._sent_info = ""
        self._lost = self._lost_told = self._lost_ever = 0
        self._trouble: str | None = None
        self._tell_lost_at = 0.0
        self._clock_ms: float | None = None

    def start(self, now: Now) -> list[Action]:
        """Start every model."""
        actions: list[Action] = [self._teller.event("info", Reason.AGENT_STARTED, now)]
        for model in self.config.model:
            crew, starts = self.employ(model, now)
            self._current[model.name] = crew
            actions += starts
        return actions

    # --- crews: the releases of models that are at work

    def employ(self, model: ModelConfig, now: Now, *, prove: bool = False) -> tuple[Crew, list[Action]]:
        """Put a release of a model to work beside what is at work; with `prove` it has to show first that it works."""
        self._releases += 1
        crew = Crew(self._over(model), self._releases, self._teller, self.config.telemetry, prove)
        self._crews[crew.release], self._plain[crew.release] = crew, model
        return crew, crew.start(now)

    def current(self, model: str) -> Crew | None:
        """Return the crew that a model's name stands for."""
        return self._current.get(model)

    def promote(self, crew: Crew, now: Now) -> list[Action]:
        """Let a model's name stand for this crew, and let the one before finish what it has."""
        before, crew.prove = self._current.get(crew.config.name), False
        self._current[crew.config.name] = crew
        return [*self._info(), *([] if before is None or before is crew else self.dismiss(before, now))]

    def dismiss(self, crew: Crew, now: Now) -> list[Action]:
        """Let a crew finish what it has and end."""
        return self._without(crew, crew.end(now))

    def configure(self, telemetry: TelemetryConfig, now: Now) -> list[Action]:
        """Take other settings of telemetry, and those of models anew; workers are started again only if need be."""
        self.config = replace(self.config, telemetry=telemetry)
        actions: list[Action] = []
        for crew in self._crews.values():
            crew.telemetry = telemetry
        for crew in list(self._current.values()):
            release = self._plain[crew.release]
            wanted = self._over(release)
            if needs_restart(crew.config, wanted):
                successor, starts = self.employ(release, now)
                actions += [*starts, *self.promote(successor, now)]
            else:
                crew.config = wanted
        if self._birth is not None:
            self._next_heartbeat = min(self._next_heartbeat, now.s + telemetry.heartbeat_s)
        return actions

    # --- the worker processes

    def ready(self, worker: WorkerId, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker has loaded its model."""
        return [*self._crew(worker).ready(worker.number, message, now), *self._info()]

    def measured(self, worker: WorkerId, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker sends what it has measured since its last message."""
        return self._crew(worker).measured(worker.number, message, now)

    def unsent(self, worker: WorkerId) -> None:
        """An answer of a worker could not be published."""
        self._crew(worker).unsent()

    def finished(self, worker: WorkerId, now: Now) -> list[Action]:
        """A worker's source has no more data; it waits to be ended."""
        return self._crew(worker).finished(worker.number, now)

    def refused(self, worker: WorkerId, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker could not begin (no runtime, a broken model, no data)."""
        crew = self._crew(worker)
        return self._without(crew, crew.refused(worker.number, message, now))

    def died(self, worker: WorkerId, detail: Mapping[str, object], now: Now, *, hung: bool = False) -> list[Action]:
        """A worker's process has ended; `detail` has its signal or code and last words."""
        crew = self._crew(worker)
        return self._without(crew, crew.died(worker.number, detail, now, hung=hung))

    def _crew(self, worker: WorkerId) -> Crew:
        return self._crews[worker.release]

    def _without(self, crew: Crew, actions: list[Action]) -> list[Action]:
        """Forget a crew that has ended."""
        if crew.gone:
            del self._crews[crew.release], self._plain[crew.release]
        return actions

    def versions(self) -> dict[str, str]:
        """Return the version of each model that serves."""
        return {name: crew.config.version for name, crew in self._current.items()}

    def tell(
        self, level: str, code: Reason, now: Now, model: str | None = None, detail: Mapping[str, object] | None = None
    ) -> list[Action]:
        """Return the action that tells an event."""
        return [self._teller.event(level, code, now, model, detail)]

    def described(self) -> list[dict[str, object]]:
        """Return the crews at work, for who asks on the device."""
        return [{**crew.described(), "current": crew in self._current.values()} for crew in self._crews.values()]

    # --- time

    def tick(self, now: Now) -> list[Action]:
        """Do what is due: close windows, restart, end what hangs, say that we are here."""
        actions = self._look_at_clock(now)
        for crew in self._crews.values():
            actions += crew.tick(now)
        actions += self._tell_lost(now)
        if self._birth is not None and now.s >= self._next_heartbeat:
            actions.append(self._online(now))
        return actions

    def overdue(self, now: Now) -> bool:
        """Whether a worker that is silent for too long was left to itself."""
        return any(crew.overdue(now) for crew in self._crews.values())

    def _look_at_clock(self, now: Now) -> list[Action]:
        """Tell when the time of day has jumped against the steady clock; nothing else depends on it."""
        before, self._clock_ms = self._clock_ms, now.ms - 1000 * now.s
        jump_ms = 0.0 if before is None else self._clock_ms - before
        if abs(jump_ms) < JUMP_MS:
            return []
        return [self._teller.event("info", Reason.CLOCK_JUMPED, now, detail={"by_s": round(jump_ms / 1000, 3)})]

    def next_time(self) -> float | None:
        """Return when `tick` has something to do next, on the steady clock."""
        times = [self._next_heartbeat] if self._birth is not None else []
        if self._lost > self._lost_told:
            times.append(self._tell_lost_at)
        for crew in self._crews.values():
            times += crew.next_times()
        return min(times, default=None)

    # --- presence

    def connected(self, birth: int, now: Now) -> list[Action]:
        """A connection with this birth number stands."""
        self._birth, self._sent_info = birth, ""
        return [self._online(now), *self._info()]

    @property
    def online(self) -> bool:
        """Whether a connection to the broker stands."""
        return self._birth is not None

    def disconnected(self) -> None:
        """The connection is gone."""
        self._birth = None

    def lost(self, here: int, ever: int, now: Now) -> list[Action]:
        """The spool has lost so many reports in this run, and ever; told at once, then at most once a minute."""
        self._lost, self._lost_ever = here, ever
        return self._tell_lost(now)

    def disk(self, trouble: str | None, now: Now) -> list[Action]:
        """The spool says what is wrong with the disk, or None; a trouble is told when it begins."""
        before, self._trouble = self._trouble, trouble
        if trouble is None or before is not None:
            return []
        return [self._teller.event("warning", Reason.REPORTS_IN_MEMORY, now, detail={"text": trouble})]

    def _tell_lost(self, now: Now) -> list[Action]:
        count = self._lost - self._lost_told
        if not count or now.s < self._tell_lost_at:
            return []
        self._lost_told, self._tell_lost_at = self._lost, now.s + SAY_LOST_S
        return [
            self._teller.event(
                "warning", Reason.REPORTS_DROPPED, now, detail={"count": count, "total": self._lost_ever}
            )
        ]

    def stop(self, now: Now) -> list[Action]:
        """The agent is asked to stop: close the windows and say goodbye."""
        actions: list[Action] = []
        for crew in self._crews.values():
            actions += crew.close(now)
        if self._birth is not None:
            goodbye = State(state="offline", birth=self._birth, boot=self.boot, ts_ms=now.ms, why="stop")
            actions += [self._teller.event("info", Reason.AGENT_STOPPED, now), Send(Kind.STATE, goodbye, retained=True)]
        return actions

    def will(self, birth: int) -> State:
        """Return the last will of a connection."""
        return State(state="offline", birth=birth, boot=self.boot)

    def _online(self, now: Now) -> Action:
        self._next_heartbeat = now.s + self.config.telemetry.heartbeat_s
        state = State(
            state="online",
            birth=self._birth,
            boot=self.boot,
            ts_ms=now.ms,
            agent=__version__,
            heartbeat_s=self.config.telemetry.heartbeat_s,
            info=self._digest(),
        )
        return Send(Kind.STATE, state, retained=True)

    def _message(self) -> Info:
        models = tuple(
            InstalledModel(
                name=name,
                version=crew.config.version,
                artifact=crew.artifact,
                format=crew.config.path.rpartition(".")[2],
                runtime=crew.runtime or None,
                executed_on=crew.executed_on or None,
                threads=crew.threads,
                limits=crew.limits or None,
            )
            for name, crew in self._current.items()
        )
        return Info(
            agent=__version__,
            hardware=self._hardware,
            runtimes=self._runtimes,
            models=models,
            labels=self.config.labels,
        )

    def _digest(self) -> str:
        return f"sha256:{hashlib.sha256(self._message().to_bytes()).hexdigest()}"

    def _info(self) -> list[Action]:
        """Return the retained description, when it has changed since it was last sent on this connection."""
        digest = self._digest()
        if self._birth is None or digest == self._sent_info:
            return []
        self._sent_info = digest
        return [Send(Kind.INFO, self._message(), retained=True)]
