"""The agent's rules: windows, restarts, presence. No I/O and no clock; what has to be done comes back as actions."""

import hashlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.config import AgentConfig, ModelConfig
from edgekit_agent.protocol import (
    WIRE_SCALE,
    Event,
    ExpHistogram,
    Info,
    InstalledModel,
    Kind,
    Latency,
    Message,
    Reason,
    Report,
    State,
    sentence,
)

STAGES = ("pre", "infer", "post", "e2e")
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
CRASHES, CRASH_WINDOW_S = 5, 600.0
STEADY_S = 60.0
FULL_SHARE = 0.95  # a worker sends about once a second: its pieces never fill a window to the point
SILENT_S = 5.0
SAY_LOST_S = 60.0  # a broker that is away for hours must not fill the events with lost reports


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """A moment: `s` on the steady clock decides, `ms` since 1970 is for people."""

    s: float
    ms: int


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start the process of a model."""

    model: ModelConfig


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End the process of a model that does not answer."""

    name: str


@dataclass(frozen=True, slots=True)
class Send:
    """Publish now, if connected; a message that is not retained and not sent is lost."""

    kind: Kind
    message: Message
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """Put a report into the outbox."""

    report: Report


Action = StartWorker | KillWorker | Send | Queue


@dataclass(slots=True)
class _Window:
    start: float
    measured_s: float = 0.0  # time the worker's measurements cover
    latency: dict[str, ExpHistogram] = field(default_factory=lambda: {name: ExpHistogram() for name in STAGES})
    inferences: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    gauges: dict[str, Any] = field(default_factory=dict)
    statistics: dict[str, Any] = field(default_factory=dict)


@dataclass(slots=True)
class _Slot:
    config: ModelConfig
    phase: str = "stopped"  # starting, ready, waiting, finished, broken
    runtime: str = ""
    executed_on: tuple[str, ...] = ()
    artifact: str = ""
    heard: float = 0.0
    ready_at: float = 0.0
    restart_at: float | None = None
    failures: int = 0
    crashes: "deque[float]" = field(default_factory=lambda: deque(maxlen=CRASHES))
    window: _Window | None = None


class Core:
    """The state of one agent process."""

    def __init__(
        self, config: AgentConfig, boot: str, hardware: Mapping[str, object], runtimes: Mapping[str, str]
    ) -> None:
        """Take the configuration, this process's random id and what the device is."""
        self.config, self.boot = config, boot
        self._hardware, self._runtimes = dict(hardware), dict(runtimes)
        self._slots = {model.name: _Slot(model) for model in config.model}
        self._seq = 0
        self._birth: int | None = None
        self._next_heartbeat = 0.0
        self._sent_info = ""
        self._lost = self._lost_told = 0
        self._tell_lost_at = 0.0

    def start(self, now: Now) -> list[Action]:
        """Start every model."""
        hello = self._event("info", Reason.AGENT_STARTED, now)
        return [hello, *(self._start(slot, now) for slot in self._slots.values())]

    def _start(self, slot: _Slot, now: Now) -> Action:
        slot.phase, slot.heard, slot.restart_at = "starting", now.s, None
        return StartWorker(slot.config)

    # --- the worker processes

    def ready(self, name: str, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A model is loaded."""
        slot = self._slots[name]
        again = slot.failures > 0
        slot.phase, slot.heard, slot.ready_at = "ready", now.s, now.s
        slot.runtime, slot.artifact = message["runtime"], message["artifact"]
        slot.executed_on = tuple(message["executed_on"])
        slot.window = slot.window or _Window(now.s)
        detail = {"runtime": slot.runtime, "load_ms": message["load_ms"]}
        code = Reason.WORKER_RESTARTED if again else Reason.MODEL_READY
        return [self._event("info", code, now, name, detail), *self._info()]

    def measured(self, name: str, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker sends what it has measured since its last message."""
        slot = self._slots[name]
        slot.heard = now.s
        if slot.failures and now.s - slot.ready_at >= STEADY_S:
            slot.failures = 0
        window = slot.window = slot.window or _Window(now.s)
        for stage in STAGES:
            window.latency[stage].merge(ExpHistogram.from_json(message["lat"][stage]))
        window.measured_s += message["span_s"]
        window.inferences += message["n"]
        window.dropped += message["drop"]
        for reason, count in message["err"].items():
            window.errors[reason] = window.errors.get(reason, 0) + count
        window.gauges = message["gauges"]
        _add(window.statistics, message["stat"])
        events = [
            self._event("error", Reason.INFERENCE_FAILED, now, name, {"text": text})
            for text in message.get("failures", ())
        ]
        return [*events, *self._close(slot, now)]

    def finished(self, name: str, now: Now) -> list[Action]:
        """A worker's source has no more data; it waits to be ended."""
        slot = self._slots[name]
        slot.phase, slot.heard = "finished", now.s
        return [*self._close(slot, now, early=True), self._event("info", Reason.SOURCE_FINISHED, now, name)]

    def refused(self, name: str, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker could not begin (no runtime, a broken model, no data): tried again later, as a crash is."""
        reason = Reason(message["code"])
        return self._failed(self._slots[name], now, reason, {"text": message["text"], "hints": message["hints"]})

    def died(self, name: str, detail: Mapping[str, object], now: Now, *, hung: bool = False) -> list[Action]:
        """A worker's process ended without being asked; `detail` has its signal or code and last words."""
        slot = self._slots[name]
        if slot.phase in {"finished", "waiting", "broken"}:
            return []
        reason = Reason.WORKER_HUNG if hung else Reason.WORKER_CRASHED
        return self._failed(slot, now, reason, detail)

    def _failed(self, slot: _Slot, now: Now, reason: Reason, detail: Mapping[str, object]) -> list[Action]:
        actions = self._close(slot, now, early=True)
        actions.append(self._event("error", reason, now, slot.config.name, detail))
        slot.crashes.append(now.s)
        if len(slot.crashes) == CRASHES and now.s - slot.crashes[0] <= CRASH_WINDOW_S:
            slot.phase = "broken"
            actions.append(self._event("error", Reason.CRASH_LOOP, now, slot.config.name, {"crashes": CRASHES}))
        else:
            slot.phase = "waiting"
            slot.restart_at = now.s + BACKOFF_S[min(slot.failures, len(BACKOFF_S) - 1)]
            slot.failures += 1
        return actions

    # --- time

    def tick(self, now: Now) -> list[Action]:
        """Do what is due: close windows, restart, end what hangs, say that we are here."""
        actions: list[Action] = []
        for slot in self._slots.values():
            actions += self._close(slot, now)
            if slot.restart_at is not None and now.s >= slot.restart_at:
                actions.append(self._start(slot, now))
            elif slot.phase in {"starting", "ready"} and now.s - slot.heard > slot.config.limits.hang_s:
                slot.heard = now.s
                actions.append(KillWorker(slot.config.name))
        actions += self._tell_lost(now)
        if self._birth is not None and now.s >= self._next_heartbeat:
            actions.append(self._online(now))
        return actions

    def next_time(self) -> float | None:
        """Return when `tick` has something to do next, on the steady clock."""
        times = [self._next_heartbeat] if self._birth is not None else []
        if self._lost > self._lost_told:
            times.append(self._tell_lost_at)
        for slot in self._slots.values():
            if slot.window is not None:
                times.append(slot.window.start + self._latest_close_s)
            if slot.restart_at is not None:
                times.append(slot.restart_at)
            if slot.phase in {"starting", "ready"}:
                times.append(slot.heard + slot.config.limits.hang_s)
        return min(times, default=None)

    @property
    def _latest_close_s(self) -> float:
        """When a window is closed although its worker is silent."""
        return self.config.telemetry.window_s + SILENT_S

    def _close(self, slot: _Slot, now: Now, *, early: bool = False) -> list[Action]:
        """Close a window that is measured in full, or any when its worker is silent or something ends early."""
        window = slot.window
        if window is None:
            return []
        full = window.measured_s >= FULL_SHARE * self.config.telemetry.window_s
        if not (full or early or now.s - window.start >= self._latest_close_s):
            return []
        slot.window = _Window(now.s) if slot.phase == "ready" and not early else None
        if not (window.inferences or window.errors or window.dropped):
            return []
        self._seq += 1
        report = Report(
            ts_ms=now.ms,
            boot=self.boot,
            seq=self._seq,
            model=slot.config.name,
            version=slot.config.version,
            artifact=slot.artifact,
            runtime=slot.runtime,
            executed_on=slot.executed_on,
            window_s=round(window.measured_s, 3),
            inferences=window.inferences,
            errors=window.errors,
            dropped=window.dropped,
            latency=_on_the_wire(window.latency),
            statistics=window.statistics,
            **window.gauges,
        )
        return [Queue(report)]

    # --- presence

    def connected(self, birth: int, now: Now) -> list[Action]:
        """A connection with this birth number stands."""
        self._birth, self._sent_info = birth, ""
        return [self._online(now), *self._info()]

    def disconnected(self) -> None:
        """The connection is gone."""
        self._birth = None

    def lost(self, count: int, now: Now) -> list[Action]:
        """The outbox dropped reports; they are told at once, then at most once a minute."""
        self._lost += count
        return self._tell_lost(now)

    def _tell_lost(self, now: Now) -> list[Action]:
        count = self._lost - self._lost_told
        if not count or now.s < self._tell_lost_at:
            return []
        self._lost_told, self._tell_lost_at = self._lost, now.s + SAY_LOST_S
        return [self._event("warning", Reason.REPORTS_DROPPED, now, detail={"count": count, "total": self._lost})]

    def stop(self, now: Now) -> list[Action]:
        """The agent is asked to stop: close the windows and say goodbye."""
        actions: list[Action] = []
        for slot in self._slots.values():
            actions += self._close(slot, now, early=True)
        if self._birth is not None:
            goodbye = State(state="offline", birth=self._birth, boot=self.boot, ts_ms=now.ms, why="stop")
            actions += [self._event("info", Reason.AGENT_STOPPED, now), Send(Kind.STATE, goodbye, retained=True)]
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
                name=slot.config.name,
                version=slot.config.version,
                artifact=slot.artifact,
                format=slot.config.path.rpartition(".")[2],
                runtime=slot.runtime or None,
            )
            for slot in self._slots.values()
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

    def _event(
        self, level: str, code: Reason, now: Now, model: str | None = None, detail: Mapping[str, object] | None = None
    ) -> Action:
        event = Event(
            ts_ms=now.ms,
            level=level,
            code=code.value,
            text=sentence(code),
            model=model,
            boot=self.boot,
            detail=dict(detail or {}),
        )
        return Send(Kind.EVENT, event)


def _on_the_wire(latency: Mapping[str, ExpHistogram]) -> Latency:
    pre, infer, post, e2e = (latency[stage].at_scale(WIRE_SCALE) for stage in STAGES)
    return Latency(pre=pre, infer=infer, post=post, e2e=e2e)


def _add(into: dict[str, Any], more: Mapping[str, Any]) -> None:
    """Add counts to counts, in nested tables too."""
    for key, value in more.items():
        if isinstance(value, Mapping):
            _add(into.setdefault(key, {}), value)
        else:
            into[key] = into.get(key, 0) + value
