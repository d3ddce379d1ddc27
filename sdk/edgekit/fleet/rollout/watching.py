"""What the gates judge by: reports and events of the devices of a rollout, read as they are stored.

It is kept in memory and made again from the store after a restart. Latency is looked at on so many devices of a wave
at most, in the wave's order; counts of inferences, errors and crashes are of all of them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import TYPE_CHECKING

from edgekit.fleet.rollout.gates import Counted, Watched, taken
from edgekit.fleet.rollout.noise import Windowed
from edgekit.fleet.rollout.plan import Key, Plan
from edgekit.fleet.rollout.state import Job, JobStatus, State
from edgekit.fleet.store.base import DeviceKey, EventRow, ReportRow

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

BEFORE_MS = 3_600_000
BEFORE_WINDOWS, AFTER_WINDOWS = 120, 360
MOST_CANARIES, MOST_CONTROLS = 40, 20
JUST_NOW_MS = 5_000
"""Nothing is read of a device beyond the canaries that has changed since: a thousand may do so at once."""
CRASHES = frozenset({"worker-crashed", "worker-hung", "worker-out-of-memory"})
CRASH_APART_MS = 60_000
"""Crashes of a device within a minute are one: a loop is one fault."""


@dataclass(slots=True)
class Stretch:
    """What a device did in a stretch of time."""

    windows: dict[str, list[Windowed]] = field(default_factory=dict)
    inferences: int = 0
    errors: int = 0
    crashes: int = 0
    classes: dict[str, float] = field(default_factory=dict)
    _crashed_ms: int = -CRASH_APART_MS
    _known: set[int] = field(default_factory=set)

    def add(self, report: ReportRow, stages: Iterable[str], most: int) -> None:
        """Add a report, once; of latency, the oldest windows are kept."""
        if report.id in self._known:
            return
        self._known.add(report.id)
        self.inferences += report.inferences
        self.errors += report.errors
        for name, count in _classes(report.statistics).items():
            self.classes[name] = self.classes.get(name, 0.0) + count
        for stage in stages:
            histogram, windows = report.latency.get(stage), self.windows.setdefault(stage, [])
            if histogram is not None and len(windows) < most:
                windows.append(Windowed(report.at_ms / 1000, histogram))

    def crash(self, at_ms: int) -> None:
        """Count a crash."""
        if at_ms - self._crashed_ms >= CRASH_APART_MS:
            self.crashes += 1
            self._crashed_ms = at_ms

    def counted(self, span_ms: int) -> Counted:
        """Return the counts."""
        hours = max(0, span_ms) / 3_600_000
        return Counted(
            inferences=self.inferences, errors=self.errors, crashes=self.crashes, hours=hours, classes=self.classes
        )


def _classes(statistics: Mapping[str, object]) -> dict[str, float]:
    top = statistics.get("top1")
    if not isinstance(top, Mapping):
        return {}
    return {str(name)[:64]: float(count) for name, count in islice(top.items(), 1000) if isinstance(count, int)}


class Watch:
    """The devices of one rollout."""

    def __init__(self, store: "Store", plan: Plan) -> None:
        """Begin without any."""
        self._store, self._plan = store, plan
        self._stages = tuple(dict.fromkeys(gate.stage for gate in plan.gates.latency))
        self._wave = -1
        self._began_ms = 0
        self._before: dict[Key, Stretch] = {}
        self._after: dict[Key, Stretch] = {}
        self._controls: dict[Key, int] = {}

    def follow(self, state: State, now_ms: int) -> None:
        """Begin to watch what has taken the release; at the first of a wave, choose what it is compared with."""
        if state.wave != self._wave:
            self._wave = state.wave
            self._before, self._after, self._controls = {}, {}, {}
        wave = state.of_wave(state.wave)
        devices = taken(wave)
        if devices and not self._controls:
            self._began_ms = min(job.committed_ms or now_ms for job in devices)
            told_ms = min(job.told_ms or now_ms for job in devices)
            self._controls = {job.key: told_ms for job in _unchanged(state, told_ms)}
            for key in self._controls:
                self._load(key, told_ms, self._began_ms, now_ms, changed=False)
        for number, job in enumerate(wave):
            if job.status is JobStatus.COMMITTED and job.key not in self._after:
                since = job.committed_ms or now_ms
                if number >= MOST_CANARIES and now_ms - since < JUST_NOW_MS:
                    self._before[job.key], self._after[job.key] = Stretch(), Stretch()
                else:
                    self._load(job.key, job.told_ms or since, since, now_ms, changed=number < MOST_CANARIES)

    def _load(self, key: Key, until_ms: int, since_ms: int, now_ms: int, *, changed: bool) -> None:
        """Read what is stored of a device: before a moment, and since another."""
        before, after = self._before.setdefault(key, Stretch()), self._after.setdefault(key, Stretch())
        first = until_ms - BEFORE_MS
        if changed or key in self._controls:
            reports = self._store.reports.of_device(DeviceKey(*key), first, until_ms)
            mine = [one for one in reports if one.model == self._plan.release.model]
            same = [one for one in mine if mine and one.version == mine[-1].version]
            for report in same[-BEFORE_WINDOWS:]:
                before.add(report, self._stages, BEFORE_WINDOWS)
        for report in self._store.reports.of_device(DeviceKey(*key), since_ms, now_ms + 1):
            self._add(after, report, since_ms, changed=key not in self._controls)
        for event in self._store.events.latest(devices=[DeviceKey(*key)], since_ms=first)[::-1]:
            if event.code in CRASHES and event.model == self._plan.release.model:
                stretch = before if event.arrived_ms < until_ms else after
                stretch.crash(event.arrived_ms)

    def _add(self, after: Stretch, report: ReportRow, since_ms: int, *, changed: bool) -> None:
        """Add a report if it is of the model, of a window that began after the change, and of the release."""
        release = self._plan.release
        began_ms = report.at_ms - report.window_s * 1000
        if (
            report.model == release.model
            and began_ms >= since_ms
            and (not changed or report.version == release.version)
        ):
            after.add(report, self._stages, AFTER_WINDOWS)

    def reports(self, state: State, new: Sequence[ReportRow]) -> bool:
        """Add reports that were stored since; return whether any is of a device that is watched."""
        found = False
        for report in new:
            key = (report.site, report.device)
            after = self._after.get(key)
            if after is None:
                continue
            job = state.jobs[key]
            control = key in self._controls
            self._add(after, report, self._began_ms if control else job.committed_ms or 0, changed=not control)
            found = True
        return found

    def events(self, new: Sequence[EventRow]) -> bool:
        """Add events that were stored since; return whether any is a crash of what is watched."""
        found = False
        for event in new:
            after = self._after.get((event.site, event.device))
            if after is not None and event.code in CRASHES and event.model == self._plan.release.model:
                after.crash(event.arrived_ms)
                found = True
        return found

    def watched(self, state: State, silent: frozenset[Key], now_ms: int) -> tuple[list[Watched], list[Watched]]:
        """Return the wave's devices that have the release, and what they are compared with."""
        canaries = [
            self._one(job, job.committed_ms or now_ms, silent, now_ms)
            for job in taken(state.of_wave(state.wave))
            if job.key in self._after
        ]
        controls = [
            self._one(state.jobs[key], self._began_ms, silent, now_ms)
            for key in self._controls
            if state.jobs[key].wave != state.wave and state.jobs[key].told_ms in {None, *_earlier(state, key)}
        ]
        return canaries, controls

    def _one(self, job: Job, since_ms: int, silent: frozenset[Key], now_ms: int) -> Watched:
        before, after = self._before[job.key], self._after[job.key]
        return Watched(
            device="/".join(job.key),
            before=before.windows,
            after=after.windows,
            usual=before.counted(BEFORE_MS if before.inferences else 0),
            now=after.counted(now_ms - since_ms),
            silent=job.key in silent,
        )


def _earlier(state: State, key: Key) -> tuple[int | None, ...]:
    """Return when a control of an earlier wave was told: it did not change since."""
    job = state.jobs[key]
    return (job.told_ms,) if job.wave < state.wave else ()


def _unchanged(state: State, told_ms: int) -> list[Job]:
    """Return devices that do not change while a wave is watched: those to come, and those that came long before."""
    waiting = [job for job in state.jobs.values() if job.wave > state.wave and job.status is JobStatus.WAITING]
    earlier = [
        job
        for job in taken(list(state.jobs.values()))
        if job.wave < state.wave and (job.committed_ms or told_ms) < told_ms
    ]
    return [*waiting[:MOST_CONTROLS], *earlier][:MOST_CONTROLS]
