"""A crew: all worker processes of one release of a model, with their restarts and their common window. No I/O."""

from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from edgekit_agent.actions import Action, EndWorker, KillWorker, Now, Queue, ShareWork, StartWorker, Teller, WorkerId
from edgekit_agent.baseline import Baseline, baseline_of
from edgekit_agent.config import ModelConfig, TelemetryConfig
from edgekit_agent.drift import Drift
from edgekit_agent.fallback import fell_back
from edgekit_agent.protocol import Reason, Report
from edgekit_agent.sources.settings import REQUESTS
from edgekit_agent.window import Window

BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0)
CRASHES, CRASH_WINDOW_S = 5, 600.0
STEADY_S = 60.0
FULL_SHARE = 0.95  # a worker sends about once a second: its pieces never fill a window to the point
SILENT_S = 5.0
DRAIN_S = 20.0
OVERDUE_S = 10.0
RUNNING = frozenset({"starting", "ready", "finished"})


@dataclass(slots=True)
class _Worker:
    id: WorkerId
    phase: str = "stopped"  # starting, ready, waiting, finished, over, ending
    heard: float = 0.0
    ready_at: float = 0.0
    restart_at: float | None = None
    failures: int = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a worker could not begin, or how it died."""

    reason: Reason
    detail: Mapping[str, object]
    refused: bool


@dataclass(slots=True)
class Tally:
    """What a crew has done since it began: inferences, how many failed, and deaths and refusals of its workers."""

    inferences: int = 0
    errors: int = 0
    crashes: int = 0


@dataclass(slots=True)
class Crew:
    """The workers of a release; `release` is the number in their ids."""

    config: ModelConfig
    release: int
    teller: Teller
    telemetry: TelemetryConfig
    prove: bool = False
    runtime: str = ""
    executed_on: tuple[str, ...] = ()
    artifact: str = ""
    threads: int | None = None
    limits: Mapping[str, object] = field(default_factory=dict)
    broken: bool = False
    leaving: bool = False
    tally: Tally = field(default_factory=Tally)
    last_failure: Failure | None = None
    proof: Mapping[str, object] = field(default_factory=dict)
    _workers: dict[int, _Worker] = field(default_factory=dict)
    _crashes: "deque[float]" = field(default_factory=lambda: deque(maxlen=CRASHES))
    _window: Window | None = None
    _drift: Drift | None = None
    _asked: Mapping[str, Any] = field(default_factory=lambda: {"device": "CPU", "delegate": None})
    _fell_back: tuple[str, ...] = ()

    def start(self, now: Now) -> list[Action]:
        """Start every worker."""
        numbers = range(self.config.workers)
        self._workers = {one: _Worker(WorkerId(self.config.name, self.release, one)) for one in numbers}
        return [self._start(worker, now) for worker in self._workers.values()]

    def _start(self, worker: _Worker, now: Now) -> Action:
        worker.phase, worker.heard, worker.restart_at = "starting", now.s, None
        return StartWorker(worker.id, self.config, self.prove)

    def end(self, now: Now) -> list[Action]:
        """Let the workers finish what they have and end; one that does not is killed later."""
        self.leaving = True
        actions: list[Action] = []
        for number, worker in list(self._workers.items()):
            if worker.phase in RUNNING:
                worker.phase, worker.heard = "ending", now.s
                actions.append(EndWorker(worker.id))
            elif worker.phase != "ending":
                del self._workers[number]
        return actions if self._workers else self._close(now, early=True)

    def share(self) -> list[Action]:
        """Leave some applications to another crew of the model, where applications are what it works for."""
        if self.config.source.kind != REQUESTS:
            return []
        return [ShareWork(worker.id) for worker in self._workers.values() if worker.phase == "ready"]

    @property
    def gone(self) -> bool:
        """Whether it was told to end and has."""
        return self.leaving and not self._workers

    @property
    def serving(self) -> bool:
        """Whether a worker has its model loaded."""
        return any(worker.phase == "ready" for worker in self._workers.values())

    @property
    def all_ready(self) -> bool:
        """Whether every worker has its model loaded, or has come to the end of its data."""
        return all(worker.phase in {"ready", "finished", "over"} for worker in self._workers.values())

    def described(self) -> dict[str, object]:
        """Return the crew for who asks on the device."""
        return {
            "name": self.config.name,
            "version": self.config.version,
            "release": self.release,
            "runtime": self.runtime or None,
            "executed_on": list(self.executed_on),
            "artifact": self.artifact or None,
            "threads": self.threads,
            "limits": self.limits,
            "broken": self.broken,
            "leaving": self.leaving,
            "crashes": self.tally.crashes,
            "drift": self._drift is not None and self._drift.suspected,
            "workers": [{"number": number, "phase": worker.phase} for number, worker in self._workers.items()],
        }

    # --- what workers say

    def ready(self, number: int, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker has loaded its model."""
        worker = self._workers[number]
        if worker.phase == "ending":
            return []
        again = worker.failures > 0
        worker.phase, worker.heard, worker.ready_at = "ready", now.s, now.s
        self.runtime, self.artifact = message["runtime"], message["artifact"]
        self.threads, self.limits = message.get("threads"), message.get("limits", {})
        self._asked = message["asked"]  # by the configuration, or by the bundle
        self.proof = message.get("proof", {})
        self._window = self._window or Window(now.s)
        if self._drift is None and message.get("baseline"):
            self._drift = Drift(Baseline.from_json(message["baseline"]), self.telemetry.drift)
        told = {key: message[key] for key in ("load_ms", "threads", "tuned", "operators", "limits") if key in message}
        detail = {"runtime": self.runtime, **told, **self._who(number)}
        code = Reason.WORKER_RESTARTED if again else Reason.MODEL_READY
        return [self._event("info", code, now, detail), *self._executes(message["executed_on"], now)]

    def _executes(self, devices: Sequence[str], now: Now) -> list[Action]:
        """Take where a worker executes; that this is not where it was to execute is told once."""
        self.executed_on = tuple(devices)
        before, self._fell_back = self._fell_back, fell_back(executed_on=devices, **self._asked)
        if not self._fell_back or self._fell_back == before:
            return []
        detail = {"asked": list(self._fell_back), "executed_on": list(devices)}
        return [self._event("warning", Reason.FELL_BACK, now, detail)]

    def measured(self, number: int, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker sends what it has measured since its last message."""
        worker = self._workers[number]
        if worker.phase != "ending":
            worker.heard = now.s
        if worker.failures and now.s - worker.ready_at >= STEADY_S:
            worker.failures = 0
        window = self._window = self._window or Window(now.s)
        window.add(number, message)
        self.tally.inferences += message["n"]
        self.tally.errors += sum(message["err"].values())
        texts = message.get("failures", ())
        events = [self._event("error", Reason.INFERENCE_FAILED, now, {"text": text}) for text in texts]
        moved = self._executes(message["executed_on"], now)
        return [*events, *moved, *self._close(now)]

    def unsent(self) -> None:
        """An answer could not be published."""
        if self._window is not None:
            self._window.count({"sinks": {"mqtt": {"unsent": 1}}})

    def finished(self, number: int, now: Now) -> list[Action]:
        """A worker's source has no more data; it waits to be ended."""
        worker = self._workers[number]
        if worker.phase == "ending":
            return []
        worker.phase, worker.heard = "finished", now.s
        actions = self._close(now, early=True)
        return [*actions, self._event("info", Reason.SOURCE_FINISHED, now, self._who(number))]

    def refused(self, number: int, message: Mapping[str, Any], now: Now) -> list[Action]:
        """A worker could not begin (no runtime, a broken model, no data): tried again later, as a crash is."""
        detail = {"text": message["text"], "hints": message["hints"]}
        return self._failed(number, Failure(Reason(message["code"]), detail, refused=True), now)

    def died(self, number: int, detail: Mapping[str, object], now: Now, *, hung: bool = False) -> list[Action]:
        """A worker's process has ended; `detail` has its signal or code and last words."""
        worker = self._workers[number]
        if worker.phase == "finished":
            worker.phase = "over"
        if worker.phase in {"over", "waiting"}:
            return []
        starved = detail.get("out_of_memory") is True
        reason = Reason.WORKER_OUT_OF_MEMORY if starved else Reason.WORKER_CRASHED
        return self._failed(number, Failure(Reason.WORKER_HUNG if hung else reason, detail, refused=False), now)

    def _failed(self, number: int, failure: Failure, now: Now) -> list[Action]:
        worker = self._workers[number]
        if worker.phase == "ending":
            del self._workers[number]
            return [] if self._workers else self._close(now, early=True)
        actions = self._close(now, early=True)
        actions.append(self._event("error", failure.reason, now, {**failure.detail, **self._who(number)}))
        self.tally.crashes += 1
        self.last_failure = failure
        self._crashes.append(now.s)
        worker.phase = "waiting"
        if len(self._crashes) == CRASHES and now.s - self._crashes[0] <= CRASH_WINDOW_S:
            self.broken = True
            for one in self._workers.values():
                one.restart_at = None
            actions.append(self._event("error", Reason.CRASH_LOOP, now, {"crashes": CRASHES}))
        if not self.broken:
            worker.restart_at = now.s + BACKOFF_S[min(worker.failures, len(BACKOFF_S) - 1)]
            worker.failures += 1
        return actions

    # --- time

    def tick(self, now: Now) -> list[Action]:
        """Close the window that is due, restart, end what hangs."""
        actions = self._close(now)
        for worker in self._workers.values():
            if worker.restart_at is not None and now.s >= worker.restart_at:
                actions.append(self._start(worker, now))
            elif now.s > self._patience(worker):
                worker.heard = now.s
                actions.append(KillWorker(worker.id))
        return actions

    def next_times(self) -> list[float]:
        """Return when `tick` has something to do, on the steady clock."""
        times = [] if self._window is None else [self._window.start + self._latest_close_s]
        for worker in self._workers.values():
            if worker.restart_at is not None:
                times.append(worker.restart_at)
            if worker.phase in {"starting", "ready", "ending"}:
                times.append(self._patience(worker))
        return times

    def overdue(self, now: Now) -> bool:
        """Whether a worker has been silent for too long and nothing was done about it: `tick` is not called."""
        return any(now.s > self._patience(worker) + OVERDUE_S for worker in self._workers.values())

    def _patience(self, worker: _Worker) -> float:
        """Return until when a worker may say nothing."""
        if worker.phase == "ending":
            return worker.heard + DRAIN_S
        return worker.heard + self.config.limits.hang_s if worker.phase in {"starting", "ready"} else float("inf")

    @property
    def _latest_close_s(self) -> float:
        """When a window is closed although its workers are silent."""
        return self.telemetry.window_s + SILENT_S

    def close(self, now: Now) -> list[Action]:
        """Report what is measured, because the agent ends."""
        return self._close(now, early=True)

    def _close(self, now: Now, *, early: bool = False) -> list[Action]:
        """Close a window that is measured in full, or any when its workers are silent or something ends early."""
        window = self._window
        if window is None:
            return []
        full = window.measured_s >= FULL_SHARE * self.telemetry.window_s
        if not (full or early or now.s - window.start >= self._latest_close_s):
            return []
        self._window = Window(now.s) if self.serving and not early else None
        if window.empty:
            return []
        if self._drift is not None:
            self._drift.limits = self.telemetry.drift
        turned = self._drift is not None and self._drift.add(window.statistics)
        report = Queue(self._report(window, now))
        return [report, self._about_drift(now)] if turned else [report]

    def _about_drift(self, now: Now) -> Action:
        assert self._drift is not None  # noqa: S101  # it has turned
        drift, limits = self._drift, asdict(self.telemetry.drift)
        reason = Reason.DRIFT_SUSPECTED if drift.suspected else Reason.DRIFT_OVER
        level = "warning" if drift.suspected else "info"
        return self._event(level, reason, now, {**drift.scores, "limits": limits})

    def _report(self, window: Window, now: Now) -> Report:
        return Report(
            ts_ms=now.ms,
            boot=self.teller.boot,
            seq=self.teller.number(),
            model=self.config.name,
            version=self.config.version,
            artifact=self.artifact,
            runtime=self.runtime,
            executed_on=self.executed_on,
            window_s=round(window.measured_s, 3),
            inferences=window.inferences,
            errors=window.errors,
            dropped=window.dropped,
            latency=window.on_the_wire(),
            statistics=self._told(window.statistics),
            **window.gauges(),
        )

    def _told(self, sums: Mapping[str, Any]) -> dict[str, object]:
        """Return statistics as a report tells them: figures in place of sums, and the last scores of drift."""
        told = {name: value for name, value in sums.items() if name not in {"in", "conf"}}
        seen = baseline_of(sums)
        if seen.inputs:
            told["in"] = {name: one.to_json() for name, one in seen.inputs.items()}
        if seen.confidence is not None:
            told["conf"] = seen.confidence.to_json()
        if self._drift is not None and self._drift.scores:
            told["drift"] = self._drift.scores
        return told

    def _who(self, number: int) -> dict[str, object]:
        """Return which worker it is about, where there are several."""
        return {"worker": number} if self.config.workers > 1 else {}

    def _event(self, level: str, code: Reason, now: Now, detail: Mapping[str, object]) -> Action:
        return self.teller.event(level, code, now, self.config.name, detail)
