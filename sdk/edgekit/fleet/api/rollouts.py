"""Rollouts: `/api/v1/rollouts`; who may operate the fleet begins them and gives orders."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, ConfigDict, Field

from edgekit.fleet.api.access import Operator, Viewer
from edgekit.fleet.api.context import Context, InContext
from edgekit.fleet.api.errors import not_found
from edgekit.fleet.api.filters import LONGEST, chosen
from edgekit.fleet.api.scope import Scope, Scoped
from edgekit.fleet.audit import Entry
from edgekit.fleet.rollout.findings import Finding, Mark
from edgekit.fleet.rollout.orders import Ordered, Wanted, begin, order, planned
from edgekit.fleet.rollout.plan import Gates, LatencyGate, Plan, Release
from edgekit.fleet.rollout.state import FAILURES, JobStatus, Status
from edgekit.fleet.store import DeviceRow
from edgekit.fleet.store.rollouts import RolloutRow

router = APIRouter(tags=["rollouts"], prefix="/api/v1/rollouts")

Id = Annotated[str, Path(pattern=r"^[a-z0-9][a-z0-9.-]{0,62}$")]
Name = Annotated[str, Field(min_length=1, max_length=64)]
_VERDICTS: Mapping[Mark, str] = {Mark.GOOD: "pass", Mark.BAD: "fail", Mark.OPEN: "undecided"}
_PENDING = frozenset({JobStatus.WAITING, JobStatus.TOLD, JobStatus.GOING_BACK})
_EVENTS = 200
MOST = 1000


class LatencyWanted(BaseModel):
    """A quantile of a stage's latency: a wave that is `limit` slower than before is bad."""

    model_config = ConfigDict(extra="forbid")
    quantile: Annotated[float, Field(gt=0, lt=1)] = 0.99
    stage: Literal["pre", "infer", "post", "e2e", "queue"] = "e2e"
    limit: Annotated[float, Field(gt=0, le=100)] = 0.10
    tolerated: Annotated[float, Field(ge=0, le=100)] = 0.01


class GatesWanted(BaseModel):
    """When a wave is bad; null leaves a gate out."""

    model_config = ConfigDict(extra="forbid")
    latency: Annotated[list[LatencyWanted], Field(max_length=8)] = [LatencyWanted(), LatencyWanted(quantile=0.5)]
    errors: Annotated[float, Field(gt=0, lt=1)] | None = 0.02
    crashes: Annotated[float, Field(gt=0)] | None = 0.5
    drift: Annotated[float, Field(gt=0)] | None = 0.25
    failures: Annotated[float, Field(ge=0, le=1)] = 0.2
    silent: Annotated[float, Field(ge=0, le=1)] | None = 0.2
    alpha: Annotated[float, Field(gt=0, lt=1)] = 0.01
    beta: Annotated[float, Field(gt=0, lt=1)] = 0.05
    least_devices: Annotated[int, Field(ge=0)] = 1
    least_inferences: Annotated[int, Field(ge=0)] = 1000


class RolloutWanted(BaseModel):
    """A rollout to begin. Times are in seconds; `dry_run` answers with the waves and begins nothing."""

    model_config = ConfigDict(extra="forbid")
    model: Name
    version: Name
    target: Annotated[str, Field(max_length=300)] | None = None
    sha256: Annotated[str, Field(pattern="^[0-9a-f]{64}$")] | None = None
    bundle: Annotated[str, Field(max_length=1000)] | None = None
    id: Annotated[str, Field(max_length=63)] | None = None
    filter: Annotated[str, Field(max_length=LONGEST)] = ""
    canary: Annotated[str, Field(max_length=20)] = "5%"
    canary_filter: Annotated[str, Field(max_length=LONGEST)] = ""
    growth: Annotated[float, Field(ge=1, le=1000)] = 4.0
    largest: Annotated[int, Field(ge=0)] = 0
    approve: Literal["none", "canary", "all"] = "none"
    gates: GatesWanted = GatesWanted()
    bake_s: Annotated[float, Field(ge=0)] = 900.0
    bake_limit_s: Annotated[float, Field(ge=0)] | None = None
    device_s: Annotated[float, Field(ge=1)] = 3600.0
    max_concurrent: Annotated[int, Field(ge=1)] = 50
    lease_s: Annotated[float, Field(ge=1)] = 60.0
    on_bad: Literal["rollback", "stop"] = "rollback"
    thin: Literal["pause", "go"] = "pause"
    dry_run: bool = False


class Why(BaseModel):
    """Why an order is given, for the audit log."""

    model_config = ConfigDict(extra="forbid")
    reason: Annotated[str, Field(max_length=500)] = ""


class Stage(BaseModel):
    """A wave: how many devices, and how they stand."""

    name: str
    state: str
    devices: int
    done: int
    failed: int
    pending: int


class Rollout(BaseModel):
    """A rollout; `stage` is the number of the wave that is on, from 0."""

    id: str
    model: str
    version: str
    filter: str
    state: str
    step: str
    reason: str
    created_ms: int
    created_by: str
    since_ms: int
    deadline_ms: int | None
    ended_ms: int | None
    stage: int
    stages: list[Stage]
    counts: dict[str, int]


class Gate(BaseModel):
    """What a gate says of the wave that is on; `evidence` of 1 stops the rollout.

    `high` is what the value is below with the plan's confidence, `detectable` the smallest regression that this much
    data finds in 95 of 100 cases.
    """

    name: str
    verdict: str
    text: str
    value: float | None
    limit: float | None
    high: float | None
    evidence: float | None
    detectable: float | None
    samples: int
    devices: int


class RolloutDevice(BaseModel):
    """A device of a rollout."""

    site: str
    device: str
    phase: str
    reason: str
    stage: int
    since_ms: int
    deadline_ms: int | None
    before: str | None


class RolloutEvent(BaseModel):
    """An entry of the audit log about a rollout."""

    at_ms: int
    what: str
    text: str
    by: str


class RolloutDetail(Rollout):
    """A rollout with its gates, devices and history, newest first."""

    gates: list[Gate]
    devices: list[RolloutDevice]
    events: list[RolloutEvent]


class Rollouts(BaseModel):
    """Rollouts, newest first."""

    rollouts: list[Rollout]


class Planned(BaseModel):
    """What a rollout would be: the devices of each wave, as `site/device`."""

    waves: list[list[str]]


@router.get("")
def list_rollouts(
    context: InContext, _who: Viewer, scope: Scoped, limit: Annotated[int, Query(ge=1, le=MOST)] = 100
) -> Rollouts:
    """List rollouts; with a scope those of which all devices are inside."""
    inside = scope.keys()
    heads = context.store.rollouts.heads(limit if inside is None else MOST)
    seen = [one for one in heads if inside is None or inside.issuperset(_keys(one.row))][:limit]
    return Rollouts(rollouts=[Rollout.model_validate(_head(one.row, one.counts)) for one in seen])


@router.post("")
def create_rollout(context: InContext, who: Operator, scope: Scoped, wanted: RolloutWanted) -> Rollout | Planned:
    """Begin a rollout; devices that are in another one are refused by name."""
    devices, asked = _asked(context, wanted)
    scope.refuse_outside(devices)
    if wanted.dry_run:
        waves = planned(asked, devices, wanted.id or "planned").waves
        return Planned(waves=[["/".join(key) for key in wave] for wave in waves])
    return _told(context, begin(context.store, asked, devices, who.name))


@router.get("/{rollout}")
def get_rollout(context: InContext, _who: Viewer, scope: Scoped, rollout: Id) -> RolloutDetail:
    """Return a rollout with its gates, devices and history."""
    return _told(context, _known(context, scope, rollout))


@router.post("/{rollout}/{what}")
def order_rollout(
    context: InContext,
    who: Operator,
    scope: Scoped,
    rollout: Id,
    what: Literal["pause", "resume", "approve", "abort", "rollback"],
    why: Why | None = None,
) -> RolloutDetail:
    """Give an order to a rollout."""
    _known(context, scope, rollout)
    given = Ordered(what=what, by=who.name, why=why.reason if why else "")
    return _told(context, order(context.store, rollout, given))


def _known(context: Context, scope: Scope, rollout: str) -> RolloutRow:
    """Return a rollout, one with a device outside of the scope as if it were not there.

    Raises:
        ApiError: 404, there is none.
    """
    row, inside = context.store.rollouts.get(rollout), scope.keys()
    if row is None or not (inside is None or inside.issuperset(_keys(row))):
        raise not_found(f"rollout '{rollout}'")
    return row


def _keys(row: RolloutRow) -> list[tuple[str, str]]:
    return [key for wave in row.plan.waves for key in wave]


def _asked(context: Context, wanted: RolloutWanted) -> tuple[Sequence[DeviceRow], Wanted]:
    devices = chosen(context.store, wanted.filter)
    first = chosen(context.store, wanted.canary_filter) if wanted.canary_filter.strip() else []
    inside = {row.key for row in devices}
    parts = {name: getattr(wanted, name) for name in Wanted.__dataclass_fields__ if name in _PLAIN}
    gates = wanted.gates.model_dump()
    gates["latency"] = tuple(LatencyGate(**one) for one in gates["latency"])
    release = Release(**{name: getattr(wanted, name) for name in Release.__dataclass_fields__})
    canaries = [(row.site, row.device) for row in first if row.key in inside]
    return devices, Wanted(release=release, gates=Gates(**gates), canaries=canaries, **parts)


_PLAIN = frozenset(RolloutWanted.model_fields) - {"gates"}


def _told(context: Context, row: RolloutRow) -> RolloutDetail:
    counts: dict[tuple[int, str], int] = {}
    for job in row.state.jobs.values():
        counts[job.wave, job.status.value] = counts.get((job.wave, job.status.value), 0) + 1
    devices = [
        RolloutDevice(
            site=job.key[0],
            device=job.key[1],
            phase=job.status.value,
            reason=job.reason,
            stage=job.wave,
            since_ms=job.since_ms,
            deadline_ms=job.deadline_ms,
            before=job.before.version if job.before else None,
        )
        for job in row.state.jobs.values()
    ]
    entries = context.store.audit.entries(subject=f"rollout/{row.id}", limit=_EVENTS)
    return RolloutDetail.model_validate(
        {
            **_head(row, counts),
            "gates": [_gate(one) for one in row.findings],
            "devices": devices,
            "events": [_event(one) for one in entries],
        }
    )


def _head(row: RolloutRow, counts: Mapping[tuple[int, str], int]) -> dict[str, object]:
    plan: Plan = row.plan
    stages = [_stage(row, number, len(wave), counts) for number, wave in enumerate(plan.waves)]
    done = sum(stage.done for stage in stages)
    failed = sum(stage.failed for stage in stages)
    waiting = sum(count for (_, status), count in counts.items() if status == JobStatus.WAITING)
    updating = sum(count for (_, status), count in counts.items() if status in {JobStatus.TOLD, JobStatus.GOING_BACK})
    return {
        "id": row.id,
        "model": plan.release.model,
        "version": plan.release.version,
        "filter": row.filter,
        "state": row.state.status.value,
        "step": row.state.step.value,
        "reason": row.state.reason,
        "created_ms": row.created_ms,
        "created_by": row.created_by,
        "since_ms": row.state.since_ms,
        "deadline_ms": row.state.deadline_ms,
        "ended_ms": row.ended_ms,
        "stage": row.state.wave,
        "stages": stages,
        "counts": {"waiting": waiting, "updating": updating, "done": done, "failed": failed},
    }


def _stage(row: RolloutRow, number: int, size: int, counts: Mapping[tuple[int, str], int]) -> Stage:
    of = {status: count for (wave, status), count in counts.items() if wave == number}
    state = "pending" if number > row.state.wave else "done"
    if number == row.state.wave and row.state.status is not Status.COMPLETED:
        state = row.state.step.value if row.state.status is Status.RUNNING else row.state.status.value
    return Stage(
        name="canary" if number == 0 and len(row.plan.waves) > 1 else f"wave {number + 1}",
        state=state,
        devices=size,
        done=of.get(JobStatus.COMMITTED, 0),
        failed=sum(of.get(status, 0) for status in FAILURES),
        pending=sum(of.get(status, 0) for status in _PENDING),
    )


def _gate(one: Finding) -> Gate:
    return Gate(
        name=one.gate,
        verdict=_VERDICTS[one.mark],
        text=one.text,
        value=one.value,
        limit=one.limit,
        high=one.high,
        evidence=one.evidence,
        detectable=one.detectable,
        samples=one.samples,
        devices=one.devices,
    )


def _event(entry: Entry) -> RolloutEvent:
    detail = ", ".join(f"{name} {value}" for name, value in entry.detail.items())
    what = entry.action.removeprefix("rollout.")
    return RolloutEvent(at_ms=entry.at_ms, what=what, text=detail, by=entry.who)
