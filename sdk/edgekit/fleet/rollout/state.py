"""How a rollout stands: values, as they lie in the database."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from edgekit.fleet.rollout.plan import Key, Release


class Status(StrEnum):
    """How a rollout as a whole stands."""

    RUNNING = "running"
    PAUSED = "paused"
    APPROVAL = "approval"
    ROLLING_BACK = "rolling-back"
    COMPLETED = "completed"
    ROLLED_BACK = "rolled-back"
    STOPPED = "stopped"


ENDED = frozenset({Status.COMPLETED, Status.ROLLED_BACK, Status.STOPPED})


class Step(StrEnum):
    """What its wave is at."""

    DEPLOYING = "deploying"
    BAKING = "baking"


class JobStatus(StrEnum):
    """How one device stands."""

    WAITING = "waiting"
    TOLD = "told"
    COMMITTED = "committed"
    FAILED = "failed"
    REJECTED = "rejected"
    LATE = "late"
    AWAY = "away"
    SKIPPED = "skipped"
    GOING_BACK = "going-back"
    BACK = "back"
    BACK_FAILED = "back-failed"
    BACK_LATE = "back-late"
    BACK_AWAY = "back-away"


UNDER_WAY = frozenset({JobStatus.WAITING, JobStatus.TOLD, JobStatus.GOING_BACK})
FAILURES = frozenset({JobStatus.FAILED, JobStatus.REJECTED, JobStatus.LATE})
TOUCHED = frozenset({JobStatus.TOLD, JobStatus.COMMITTED, JobStatus.LATE, JobStatus.AWAY, *FAILURES})
"""Those whose desired state names the new release."""
STILL_COMING = frozenset({JobStatus.LATE, JobStatus.AWAY})
STILL_GOING_BACK = frozenset({JobStatus.BACK_LATE, JobStatus.BACK_AWAY})


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One device of a rollout; `v` is the desired state that told it, `before` what it served until then."""

    key: Key
    wave: int
    status: JobStatus = JobStatus.WAITING
    reason: str = ""
    since_ms: int = 0
    deadline_ms: int | None = None
    v: int = 0
    tries: int = 0
    before: Release | None = None
    told_ms: int | None = None
    committed_ms: int | None = None

    def to(self, status: JobStatus, now_ms: int, reason: str = "", deadline_ms: int | None = None) -> "Job":
        """Return it in another status."""
        return replace(self, status=status, reason=reason, since_ms=now_ms, deadline_ms=deadline_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """A rollout; `reason` says why it is in its status, `deadline_ms` when that is over."""

    jobs: Mapping[Key, Job]
    status: Status = Status.RUNNING
    reason: str = ""
    step: Step = Step.DEPLOYING
    wave: int = 0
    since_ms: int = 0
    deadline_ms: int | None = None

    @property
    def ended(self) -> bool:
        """Whether nothing more is going to be begun."""
        return self.status in ENDED

    def of_wave(self, wave: int) -> list[Job]:
        """Return the devices of a wave."""
        return [job for job in self.jobs.values() if job.wave == wave]

    def grants(self, key: Key) -> bool:
        """Whether a device may begin its trial, or keep what it tried, now."""
        job = self.jobs.get(key)
        if job is None:
            return False
        wanted = {JobStatus.TOLD, JobStatus.COMMITTED, *STILL_COMING}  # one that has lost its disk begins anew
        return job.status in wanted and self.status in {Status.RUNNING, Status.APPROVAL, Status.COMPLETED}
