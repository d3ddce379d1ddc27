"""Rollouts in the database: what was decided is there before anything of it is done."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec
from sqlalchemy import Connection, Engine, RowMapping, delete, func, insert, select, tuple_, update

from edgekit.errors import UsageError
from edgekit.fleet.audit import Entry
from edgekit.fleet.rollout.findings import Finding
from edgekit.fleet.rollout.machine import Action, Note, Tell
from edgekit.fleet.rollout.plan import Key, Plan, Release
from edgekit.fleet.rollout.state import STILL_COMING, STILL_GOING_BACK, Job, JobStatus, State, Status, Step
from edgekit.fleet.store.audit import append
from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.bulk import chunks
from edgekit.fleet.store.bulk import replace as replace_rows
from edgekit.fleet.store.desired import Wish, wish
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import ROLLOUT_HOLDS, ROLLOUT_JOBS, ROLLOUTS

_JOB_COLUMNS = (
    "rollout", "site", "device", "wave", "position", "status", "reason", "since_ms", "deadline_ms", "told_ms",
    "committed_ms", "v", "tries", "before",
)  # fmt: skip
_SHOWN = 5
_TRIES = 20

Change = Callable[["RolloutRow"], tuple[State, Sequence[Action]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutRow:
    """A rollout with all that is known of it; `rev` grows with every change."""

    id: str
    plan: Plan
    state: State
    filter: str = ""
    created_ms: int = 0
    created_by: str = ""
    ended_ms: int | None = None
    findings: tuple[Finding, ...] = ()
    rev: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Head:
    """A rollout without its devices; `counts` are devices by wave and status."""

    row: RolloutRow
    counts: Mapping[tuple[int, str], int]


@dataclass(frozen=True, slots=True, kw_only=True)
class Follows:
    """What follows from a row; without findings the last ones stay."""

    state: State
    actions: Sequence[Action] = ()
    findings: Sequence[Finding] | None = None


class Rollouts:
    """Adds, reads and changes rollouts."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def add(self, row: RolloutRow, now_ms: int) -> None:
        """Store a rollout that begins, and hold its devices.

        Raises:
            UsageError: if its id is taken, or a device is in another rollout: its name and the rollout's are told.
        """
        with writing(self._engine) as connection:
            if connection.scalar(select(ROLLOUTS.c.id).where(ROLLOUTS.c.id == row.id)) is not None:
                raise UsageError(f"there is a rollout '{row.id}' already")
            _hold(connection, row.id, list(row.state.jobs))
            connection.execute(insert(ROLLOUTS).values(**_values(row)))
            _put_jobs(connection, row.id, row.state, list(row.state.jobs.values()))
            detail: dict[str, object] = {
                "model": row.plan.release.model,
                "version": row.plan.release.version,
                "filter": row.filter,
                "waves": [len(wave) for wave in row.plan.waves],
            }
            append(connection, [_entry(row, "begun", detail, row.created_by, now_ms)])

    def change(self, rollout: str, by: str, now_ms: int, change: Change) -> RolloutRow:
        """Change a rollout as a function of what it is says: state, desired states and audit log at once.

        The function may be called again with a newer row, when somebody else was faster.

        Raises:
            UsageError: if there is no such rollout, or its devices are in another one meanwhile.
        """
        for _ in range(_TRIES):
            row = self.get(rollout)
            if row is None:
                raise UsageError(f"there is no rollout '{rollout}'")
            state, actions = change(row)
            saved = self.save(row, Follows(state=state, actions=actions), by, now_ms)
            if saved is not None:
                return saved
        raise UsageError(f"the rollout '{rollout}' changes all the time: try again")

    def save(self, row: RolloutRow, follows: Follows, by: str, now_ms: int) -> RolloutRow | None:
        """Store what follows from a row; None if the row is not the newest any more, and nothing was stored."""
        state, actions = follows.state, follows.actions
        found = row.findings if follows.findings is None else tuple(follows.findings)
        if state == row.state and not actions and found == row.findings:
            return row
        ended = (row.ended_ms or now_ms) if state.ended else None
        with writing(self._engine) as connection:
            after = replace(row, state=state, findings=found, rev=row.rev + 1, ended_ms=ended)
            mine = (ROLLOUTS.c.id == row.id) & (ROLLOUTS.c.rev == row.rev)
            if connection.execute(update(ROLLOUTS).where(mine).values(**_values(after))).rowcount != 1:
                return None
            if row.state.ended and not state.ended:
                _hold(connection, row.id, list(state.jobs))
            if state.ended:
                connection.execute(delete(ROLLOUT_HOLDS).where(ROLLOUT_HOLDS.c.rollout == row.id))
            tells = [one for one in actions if isinstance(one, Tell)]
            after = replace(after, state=_told(connection, row, state, tells, now_ms))
            changed = [job for key, job in after.state.jobs.items() if job != row.state.jobs.get(key)]
            _put_jobs(connection, row.id, after.state, changed)
            notes = [one for one in actions if isinstance(one, Note)]
            append(connection, [_entry(row, one.what, _detail(one), by, now_ms) for one in notes])
        return after

    def get(self, rollout: str) -> RolloutRow | None:
        """Return a rollout with its devices."""
        with reading(self._engine) as connection:
            row = connection.execute(select(ROLLOUTS).where(ROLLOUTS.c.id == rollout)).mappings().first()
            if row is None:
                return None
            query = select(ROLLOUT_JOBS).where(ROLLOUT_JOBS.c.rollout == rollout).order_by(ROLLOUT_JOBS.c.position)
            jobs = [_job(one) for one in connection.execute(query).mappings()]
        return _row(row, {job.key: job for job in jobs})

    def heads(self, limit: int = 100) -> list[Head]:
        """Return the newest rollouts, newest first, without their devices."""
        with reading(self._engine) as connection:
            query = select(ROLLOUTS).order_by(ROLLOUTS.c.created_ms.desc(), ROLLOUTS.c.id).limit(limit)
            rows = [_row(row, {}) for row in connection.execute(query).mappings()]
            counts: dict[str, Counter[tuple[int, str]]] = {row.id: Counter() for row in rows}
            columns = (ROLLOUT_JOBS.c.rollout, ROLLOUT_JOBS.c.wave, ROLLOUT_JOBS.c.status)
            for part in chunks(list(counts)):
                query = select(*columns, func.count()).where(ROLLOUT_JOBS.c.rollout.in_(part)).group_by(*columns)
                for rollout, wave, status, count in connection.execute(query):
                    counts[rollout][wave, status] = count
        return [Head(row=row, counts=counts[row.id]) for row in rows]

    def revisions(self) -> dict[str, int]:
        """Return the revision of each rollout that is under way, or has devices that may still come or go back."""
        ended = [Status.COMPLETED.value, Status.ROLLED_BACK.value, Status.STOPPED.value]
        late = [one.value for one in (*STILL_COMING, *STILL_GOING_BACK)]
        unsettled = select(ROLLOUT_JOBS.c.rollout).where(ROLLOUT_JOBS.c.status.in_(late)).distinct()
        query = select(ROLLOUTS.c.id, ROLLOUTS.c.rev)
        query = query.where(ROLLOUTS.c.status.not_in(ended) | ROLLOUTS.c.id.in_(unsettled)).order_by(ROLLOUTS.c.id)
        with reading(self._engine) as connection:
            return {row[0]: row[1] for row in connection.execute(query)}


def _hold(connection: Connection, rollout: str, keys: Sequence[Key]) -> None:
    taken: list[str] = []
    for part in chunks(keys, 200):
        mine = tuple_(ROLLOUT_HOLDS.c.site, ROLLOUT_HOLDS.c.device).in_([tuple(key) for key in part])
        others = connection.execute(select(ROLLOUT_HOLDS).where(mine, ROLLOUT_HOLDS.c.rollout != rollout))
        taken += [f"{row.site}/{row.device} (in '{row.rollout}')" for row in others]
    if taken:
        more = f" and {len(taken) - _SHOWN} more" if len(taken) > _SHOWN else ""
        error = UsageError(f"these devices are in another rollout: {', '.join(sorted(taken)[:_SHOWN])}{more}")
        error.add_note("wait until it has ended, abort it, or leave these devices out")
        raise error
    rows = [(key[0], key[1], rollout) for key in keys]
    replace_rows(connection, ROLLOUT_HOLDS, ("site", "device", "rollout"), rows)


def _told(connection: Connection, row: RolloutRow, state: State, tells: Sequence[Tell], now_ms: int) -> State:
    """Write what devices are to be told; return the state with the version each is told in."""
    wishes = []
    for tell in tells:
        lease = 0.0 if tell.back else row.plan.lease_s
        key, name = DeviceKey(*tell.key), row.plan.release.model
        if tell.release is None:  # it had none before: what it was told must not stand, least of all without a lease
            wishes.append(Wish(key=key, without=name, rollout=row.id, lease_s=lease))
        else:
            model = model_of(tell.release, back=tell.back)
            wishes.append(Wish(key=key, model=model, rollout=row.id, lease_s=lease))
    versions = wish(connection, wishes, now_ms) if wishes else {}
    jobs = dict(state.jobs)
    for key, v in versions.items():
        jobs[key] = replace(jobs[key], v=v)
    return replace(state, jobs=jobs)


def model_of(release: Release, *, back: bool) -> dict[str, object]:
    """Return a release as a desired state names it."""
    body = {
        "name": release.model,
        "version": release.version,
        "target": release.target,
        "bundle": release.bundle,
        "sha256": release.sha256,
        "back": back or None,
    }
    return {name: value for name, value in body.items() if value is not None}


# --- rows


def _entry(row: RolloutRow, what: str, detail: Mapping[str, object], by: str, now_ms: int) -> Entry:
    return Entry(at_ms=now_ms, who=by, action=f"rollout.{what}", subject=f"rollout/{row.id}", detail=detail)


def _detail(note: Note) -> dict[str, object]:
    return {**note.detail, **({"reason": note.reason} if note.reason else {})}


def _values(row: RolloutRow) -> dict[str, object]:
    state = row.state
    return {
        "id": row.id,
        "rev": row.rev,
        "model": row.plan.release.model,
        "version": row.plan.release.version,
        "filter": row.filter,
        "plan": msgspec.json.encode(row.plan).decode(),
        "status": state.status.value,
        "reason": state.reason,
        "step": state.step.value,
        "wave": state.wave,
        "since_ms": state.since_ms,
        "deadline_ms": state.deadline_ms,
        "created_ms": row.created_ms,
        "created_by": row.created_by,
        "ended_ms": row.ended_ms,
        "findings": msgspec.json.encode(row.findings).decode(),
    }


def _row(row: RowMapping, jobs: Mapping[Key, Job]) -> RolloutRow:
    state = State(
        jobs=jobs,
        status=Status(str(row["status"])),
        reason=str(row["reason"]),
        step=Step(str(row["step"])),
        wave=msgspec.convert(row["wave"], int),
        since_ms=msgspec.convert(row["since_ms"], int),
        deadline_ms=msgspec.convert(row["deadline_ms"], int | None),
    )
    return RolloutRow(
        id=str(row["id"]),
        plan=msgspec.json.decode(str(row["plan"]), type=Plan),
        state=state,
        filter=str(row["filter"]),
        created_ms=msgspec.convert(row["created_ms"], int),
        created_by=str(row["created_by"]),
        ended_ms=msgspec.convert(row["ended_ms"], int | None),
        findings=msgspec.json.decode(str(row["findings"]), type=tuple[Finding, ...]),
        rev=msgspec.convert(row["rev"], int),
    )


def _put_jobs(connection: Connection, rollout: str, state: State, jobs: Sequence[Job]) -> None:
    positions = {key: at for at, key in enumerate(state.jobs)}
    rows = [_job_values(rollout, positions[job.key], job) for job in jobs]
    replace_rows(connection, ROLLOUT_JOBS, _JOB_COLUMNS, rows)


def _job_values(rollout: str, position: int, job: Job) -> tuple[object, ...]:
    before = None if job.before is None else msgspec.json.encode(job.before).decode()
    name = (rollout, *job.key, job.wave, position, job.status.value, job.reason)
    times = (job.since_ms, job.deadline_ms, job.told_ms, job.committed_ms)
    return (*name, *times, job.v, job.tries, before)


def _job(row: RowMapping) -> Job:
    values = {name: value for name, value in row.items() if name not in {"rollout", "site", "device", "position"}}
    before = None if row["before"] is None else msgspec.json.decode(str(row["before"]), type=Release)
    values |= {"status": JobStatus(str(row["status"])), "before": before}
    return Job(key=(str(row["site"]), str(row["device"])), **values)
