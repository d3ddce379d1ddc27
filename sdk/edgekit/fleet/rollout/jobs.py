"""One device of a rollout: what its reports and the clock make of it. Pure."""

from dataclasses import replace
from typing import TYPE_CHECKING

from edgekit.fleet.rollout.plan import Plan
from edgekit.fleet.rollout.state import STILL_COMING, STILL_GOING_BACK, Job, JobStatus

if TYPE_CHECKING:
    from edgekit.fleet.rollout.machine import Seen

MOST_TRIES = 3
LEASE_MISSING = "lease-missing"
_TOLD = frozenset({JobStatus.TOLD, *STILL_COMING})
_BACK = frozenset({JobStatus.GOING_BACK, *STILL_GOING_BACK})
_BAD_ENDS = {"failed": JobStatus.FAILED, "rejected": JobStatus.REJECTED, "superseded": JobStatus.REJECTED}


def online(seen: "Seen | None") -> bool:
    """Whether a device is there."""
    return seen is not None and seen.online


def heard(job: Job, plan: Plan, seen: "Seen | None", now_ms: int) -> Job:
    """Return a device's job after what the device has reported of the desired state it was told."""
    if seen is None or not job.v or seen.v < job.v:
        return job
    if job.status in _TOLD:
        return _coming(job, plan, seen, now_ms)
    if job.status in _BACK:
        return _going_back(job, seen, now_ms)
    return job


def _coming(job: Job, plan: Plan, seen: "Seen", now_ms: int) -> Job:
    if seen.foreign:
        return job.to(JobStatus.REJECTED, now_ms, f"somebody else announced a desired state (v {seen.v})")
    decided = seen.phase == "committed"
    if seen.version != plan.release.version or (decided and seen.serving not in {"", plan.release.version}):
        return job  # of something else, or decided and not at work yet
    if decided:
        return replace(job.to(JobStatus.COMMITTED, now_ms), committed_ms=now_ms)
    if seen.phase in _BAD_ENDS:
        if seen.reason == LEASE_MISSING and job.tries < MOST_TRIES:
            return job.to(JobStatus.WAITING, now_ms, "it waited in vain for the host: told again")
        return job.to(_BAD_ENDS[seen.phase], now_ms, _why(seen))
    return replace(job, reason=": ".join(part for part in (seen.phase, seen.reason) if part))


def _going_back(job: Job, seen: "Seen", now_ms: int) -> Job:
    if job.before is None or seen.serving == job.before.version:
        return job.to(JobStatus.BACK, now_ms, job.reason)
    if seen.version == job.before.version and seen.phase in _BAD_ENDS:
        return job.to(JobStatus.BACK_FAILED, now_ms, _why(seen))
    return job


def timed_out(job: Job, seen: "Seen | None", now_ms: int) -> Job:
    """Return a device's job when its time is over: late if the device is there, and otherwise away."""
    if job.deadline_ms is None or now_ms < job.deadline_ms:
        return job
    there = online(seen)
    if job.status is JobStatus.TOLD:
        if there:
            return job.to(JobStatus.LATE, now_ms, f"its time is over while: {job.reason or 'it has not answered'}")
        return job.to(JobStatus.AWAY, now_ms, "it was not there: it gets the release when it comes back")
    if job.status is JobStatus.GOING_BACK:
        if there:
            return job.to(JobStatus.BACK_LATE, now_ms, "it is there and has not gone back in time")
        return job.to(JobStatus.BACK_AWAY, now_ms, "it is not there: it goes back when it comes back")
    return job


def _why(seen: "Seen") -> str:
    return ": ".join(part for part in (seen.reason or seen.phase, seen.text) if part)
