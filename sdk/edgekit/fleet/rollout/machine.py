"""What follows from what in a rollout. Pure: (plan, state, what is seen, now) -> (state, actions); no I/O, no clock.

Every status that waits has a deadline, and every change a reason. `advance` may be called any number of times with the
same values: after the service was killed it goes on from what the database holds.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from edgekit.fleet.rollout import jobs
from edgekit.fleet.rollout.findings import Finding, Mark
from edgekit.fleet.rollout.plan import Key, Plan, Release
from edgekit.fleet.rollout.state import (
    TOUCHED,
    UNDER_WAY,
    Job,
    JobStatus,
    State,
    Status,
    Step,
)

SECOND_MS = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """A device as it was last heard: `v` and what follows is of its `reported` message.

    `foreign` is a device whose desired state is newer than any of this store: another host has told it something.
    """

    online: bool = False
    v: int = 0
    foreign: bool = False
    version: str = ""
    phase: str = ""
    reason: str = ""
    text: str = ""
    serving: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tell:
    """Give a device a desired state that names a release; `back` where it is the one from before."""

    key: Key
    release: Release | None
    back: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """Something for the audit log."""

    what: str
    reason: str = ""
    detail: Mapping[str, object] = field(default_factory=dict)


Action = Tell | Note


def begun(plan: Plan, before: Mapping[Key, Release | None], now_ms: int) -> State:
    """Return the state of a rollout that begins; `before` is what each device serves."""
    made = {
        key: Job(key=key, wave=number, since_ms=now_ms, before=before.get(key))
        for number, wave in enumerate(plan.waves)
        for key in wave
    }
    return State(jobs=made, since_ms=now_ms, reason="begun")


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """When it is: `ms` since 1970.

    `hears` is whether devices have had time to tell how they stand. Until they had, no time is over, however long the
    service was away.
    """

    ms: int
    hears: bool = True


def advance(
    plan: Plan, state: State, seen: Mapping[Key, Seen], findings: Sequence[Finding], moment: Moment
) -> tuple[State, list[Action]]:
    """Return what follows from what is seen, and what is to be done.

    Args:
        plan: of the rollout.
        state: of the rollout.
        seen: devices; those that are not among them have not been heard of.
        findings: what the gates say of the wave that is on; none while there is nothing to judge.
        moment: when that is.
    """
    now_ms = moment.ms
    heard = {key: jobs.heard(job, plan, seen.get(key), now_ms) for key, job in state.jobs.items()}
    if moment.hears and state.status in {Status.RUNNING, Status.ROLLING_BACK}:
        heard = {key: jobs.timed_out(job, seen.get(key), now_ms) for key, job in heard.items()}
    notes: list[Action] = [_of_job(job) for key, job in heard.items() if job.status is not state.jobs[key].status]
    state = replace(state, jobs=heard)
    bad = next((one for one in findings if one.mark is Mark.BAD), None)
    if bad is not None and state.status in {Status.RUNNING, Status.PAUSED, Status.APPROVAL}:
        state, actions = abort(plan, state, f"{bad.gate}: {bad.text}", now_ms)
        return state, notes + actions
    match state.status:
        case Status.RUNNING:
            state, actions = _deploy(plan, state, seen, findings, moment)
        case Status.ROLLING_BACK:
            state, actions = _gone_back(plan, state, now_ms)
        case Status.PAUSED | Status.APPROVAL:
            state, actions = _waited(state, now_ms)
        case _:
            actions = []
    return state, notes + actions


# --- a wave


def _deploy(
    plan: Plan, state: State, seen: Mapping[Key, Seen], findings: Sequence[Finding], moment: Moment
) -> tuple[State, list[Action]]:
    now_ms = moment.ms
    wave = state.of_wave(state.wave)
    if state.step is Step.DEPLOYING:
        again, tells = _tell_more(plan, wave, seen, now_ms)
        state = replace(state, jobs={**state.jobs, **again})
        wave = state.of_wave(state.wave)
        if any(job.status in UNDER_WAY for job in wave):
            return state, tells
        deadline = now_ms + int(plan.bake_limit_s * SECOND_MS)
        state = replace(state, step=Step.BAKING, since_ms=now_ms, deadline_ms=deadline, reason="all devices have ended")
        return state, [*tells, Note(what="wave-deployed", detail={"wave": state.wave, **_counts(wave)})]
    if now_ms - state.since_ms < plan.bake_s * SECOND_MS:
        return state, []
    unsure = [one for one in findings if one.mark is Mark.OPEN]
    here = any(job.status is JobStatus.COMMITTED for job in wave)
    if (unsure or not here) and plan.thin == "pause":
        over = state.deadline_ms is None or now_ms >= state.deadline_ms
        if not moment.hears or (not over and (here or _may_come(wave))):
            return state, []
        why = f"{unsure[0].gate}: {unsure[0].text}" if unsure else "no device of the wave took the release"
        return _pause(plan, state, f"not enough to judge by: {why}", now_ms)
    return _next_wave(plan, state, now_ms)


def _tell_more(
    plan: Plan, wave: Sequence[Job], seen: Mapping[Key, Seen], now_ms: int
) -> tuple[dict[Key, Job], list[Action]]:
    """Tell as many devices as may be busy at a time; those that are away do not count."""
    busy = sum(job.status is JobStatus.TOLD and jobs.online(seen.get(job.key)) for job in wave)
    deadline = now_ms + int(plan.device_s * SECOND_MS)
    told: dict[Key, Job] = {}
    for job in wave:
        if job.status is not JobStatus.WAITING:
            continue
        there = jobs.online(seen.get(job.key))
        if there and busy >= plan.max_concurrent:
            continue
        busy += there
        to = job.to(JobStatus.TOLD, now_ms, job.reason, deadline)
        told[job.key] = replace(to, tries=job.tries + 1, told_ms=now_ms)
    return told, [Tell(key=key, release=plan.release) for key in told]


def _next_wave(plan: Plan, state: State, now_ms: int) -> tuple[State, list[Action]]:
    passed = Note(what="wave-passed", detail={"wave": state.wave})
    if state.wave + 1 == len(plan.waves):
        state = replace(state, status=Status.COMPLETED, reason="all waves passed", since_ms=now_ms, deadline_ms=None)
        return state, [passed, Note(what="completed")]
    if state.wave in plan.approve:
        deadline = now_ms + int(plan.pause_limit_s * SECOND_MS)
        reason = f"wave {state.wave + 1} of {len(plan.waves)} passed: the next one waits for approval"
        state = replace(state, status=Status.APPROVAL, reason=reason, since_ms=now_ms, deadline_ms=deadline)
        return state, [passed, Note(what="approval-awaited")]
    return _into_wave(state, state.wave + 1, now_ms), [passed]


def _into_wave(state: State, wave: int, now_ms: int) -> State:
    reason = f"wave {wave + 1} begun"
    return replace(
        state,
        status=Status.RUNNING,
        wave=wave,
        step=Step.DEPLOYING,
        since_ms=now_ms,
        deadline_ms=None,
        reason=reason,
    )


def _may_come(wave: Sequence[Job]) -> bool:
    return any(job.status in {JobStatus.AWAY, JobStatus.LATE} for job in wave)


# --- orders, and what stops it


def pause(plan: Plan, state: State, reason: str, now_ms: int) -> tuple[State, list[Action]]:
    """Begin nothing more, and let no device begin; those that have the release keep it."""
    return _pause(plan, state, reason, now_ms) if state.status in {Status.RUNNING, Status.APPROVAL} else (state, [])


def _pause(plan: Plan, state: State, reason: str, now_ms: int) -> tuple[State, list[Action]]:
    deadline = now_ms + int(plan.pause_limit_s * SECOND_MS)
    state = replace(state, status=Status.PAUSED, reason=reason, since_ms=now_ms, deadline_ms=deadline)
    return state, [Note(what="paused", reason=reason)]


def resume(plan: Plan, state: State, reason: str, now_ms: int) -> tuple[State, list[Action]]:
    """Go on; devices that were told and the wave's watch get their whole time again."""
    if state.status is not Status.PAUSED:
        return state, []
    deadline = now_ms + int(plan.device_s * SECOND_MS)
    again = {
        key: replace(job, deadline_ms=deadline) if job.status is JobStatus.TOLD else job
        for key, job in state.jobs.items()
    }
    limit = now_ms + int(plan.bake_limit_s * SECOND_MS) if state.step is Step.BAKING else None
    state = replace(state, jobs=again, status=Status.RUNNING, since_ms=now_ms, deadline_ms=limit, reason="resumed")
    return state, [Note(what="resumed", reason=reason)]


def approve(plan: Plan, state: State, reason: str, now_ms: int) -> tuple[State, list[Action]]:
    """Let the next wave begin."""
    if state.status is Status.APPROVAL:
        return _into_wave(state, state.wave + 1, now_ms), [Note(what="approved", reason=reason)]
    if state.status is Status.PAUSED and state.step is Step.BAKING:  # somebody has judged what the gates could not
        state, actions = _next_wave(replace(plan, approve=()), state, now_ms)
        return state, [Note(what="approved", reason=reason), *actions]
    return state, []


def abort(plan: Plan, state: State, reason: str, now_ms: int) -> tuple[State, list[Action]]:
    """Take back what was told: all of it, or (`on_bad` is `stop`) what has not been taken yet."""
    keep = {JobStatus.COMMITTED} if plan.on_bad == "stop" else set()
    return _back(plan, state, reason, now_ms, keep)


def rollback(plan: Plan, state: State, reason: str, now_ms: int) -> tuple[State, list[Action]]:
    """Take every device back to what it served before, also after the end."""
    return _back(plan, state, reason, now_ms, set())


def _back(plan: Plan, state: State, reason: str, now_ms: int, keep: set[JobStatus]) -> tuple[State, list[Action]]:
    if state.status in {Status.ROLLING_BACK, Status.ROLLED_BACK}:
        return state, []
    deadline = now_ms + int(plan.device_s * SECOND_MS)
    moved = dict(state.jobs)
    tells: list[Action] = []
    for key, job in state.jobs.items():
        if job.status is JobStatus.WAITING:
            moved[key] = job.to(JobStatus.SKIPPED, now_ms, "the rollout was stopped before its turn")
        elif job.status in TOUCHED - keep:
            moved[key] = job.to(JobStatus.GOING_BACK, now_ms, reason, deadline)
            tells.append(Tell(key=key, release=job.before, back=True))
    state = replace(state, jobs=moved, status=Status.ROLLING_BACK, reason=reason, since_ms=now_ms, deadline_ms=deadline)
    state, actions = _gone_back(plan, state, now_ms)
    return state, [*tells, Note(what="aborted", reason=reason, detail={"devices": len(tells)}), *actions]


def _gone_back(plan: Plan, state: State, now_ms: int) -> tuple[State, list[Action]]:
    if any(job.status is JobStatus.GOING_BACK for job in state.jobs.values()):
        return state, []
    counts = _counts(list(state.jobs.values()))
    state = replace(state, status=Status.ROLLED_BACK, since_ms=now_ms, deadline_ms=None)
    return state, [Note(what="rolled-back", reason=state.reason, detail={**counts, "version": plan.release.version})]


def _waited(state: State, now_ms: int) -> tuple[State, list[Action]]:
    if state.deadline_ms is None or now_ms < state.deadline_ms:
        return state, []
    reason = f"nobody decided in time: {state.reason}"
    state = replace(state, status=Status.STOPPED, reason=reason, since_ms=now_ms, deadline_ms=None)
    return state, [Note(what="stopped", reason=reason)]


# --- for the log


def _of_job(job: Job) -> Note:
    detail = {"site": job.key[0], "device": job.key[1], "wave": job.wave, "v": job.v}
    return Note(what=f"device-{job.status}", reason=job.reason, detail=detail)


def _counts(wave: Sequence[Job]) -> dict[str, object]:
    found: dict[str, int] = {}
    for job in wave:
        found[job.status.value] = found.get(job.status.value, 0) + 1
    return dict(found)
