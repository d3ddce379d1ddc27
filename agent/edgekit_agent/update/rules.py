"""What follows from what in an update: the one table of its phases, and pure functions on records. No I/O, no clock."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from types import MappingProxyType

from edgekit_agent.protocol import Desired, Reason
from edgekit_agent.update.records import Installed, Outcome, Phase, Record, Records, Update, Wanted

NEVER = 2**53

MOST_WRITES = 60
"""Durable writes of one update: what comes round more often than any sound one is a loop, and is broken."""


class Act(StrEnum):
    """What is done in a phase. Each may be begun again after a crash, as often as it takes."""

    NOTHING = "nothing"
    CHECK = "check"
    FETCH = "fetch"
    INSTALL = "install"
    TRY = "try"
    PROMOTE = "promote"
    DISMISS = "dismiss"
    COLLECT = "collect"


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """A phase: what is done, where it leads when that succeeds or fails, how many process starts it may see."""

    act: Act
    done: Phase | None
    failed: Phase | None
    starts: int = 5
    replaceable: bool = False


STEPS: Mapping[Phase, Step] = MappingProxyType(
    {
        Phase.ANNOUNCED: Step(
            act=Act.NOTHING, done=Phase.CHECKING, failed=Phase.REJECTED, starts=NEVER, replaceable=True
        ),
        Phase.CHECKING: Step(act=Act.CHECK, done=Phase.DOWNLOADING, failed=Phase.REJECTED, replaceable=True),
        Phase.DOWNLOADING: Step(
            act=Act.FETCH, done=Phase.VERIFYING, failed=Phase.REJECTED, starts=20, replaceable=True
        ),
        Phase.VERIFYING: Step(act=Act.INSTALL, done=Phase.STAGED, failed=Phase.REJECTED, replaceable=True),
        Phase.STAGED: Step(act=Act.NOTHING, done=Phase.TRIAL, failed=Phase.REJECTED, replaceable=True),
        Phase.TRIAL: Step(act=Act.TRY, done=Phase.COMMITTED, failed=Phase.ROLLING_BACK, starts=3),
        Phase.ROLLING_BACK: Step(act=Act.DISMISS, done=Phase.FAILED, failed=Phase.FAILED),
        Phase.COMMITTED: Step(act=Act.PROMOTE, done=Phase.CLEANUP, failed=Phase.CLEANUP),
        # from here on nothing can go wrong any more: what cannot be removed stays until the next time
        Phase.CLEANUP: Step(act=Act.COLLECT, done=None, failed=None),
        Phase.REJECTED: Step(act=Act.COLLECT, done=None, failed=None),
        Phase.FAILED: Step(act=Act.COLLECT, done=None, failed=None),
    }
)
"""An update that ends (None) leaves its outcome in the record."""

_LASTING = frozenset({Reason.BUNDLE_INVALID, Reason.BUNDLE_UNFIT, Reason.RUNTIME_MISSING, Reason.HARDWARE_MISMATCH})
_NOT_ITS_FAULT = frozenset(
    {Reason.DISK_FULL, Reason.REBOOT_LOOP, Reason.UPDATE_LOOP, Reason.UPDATE_SUPERSEDED, Reason.LEASE_MISSING}
)

ENDS = MappingProxyType({Phase.CLEANUP: Phase.COMMITTED, Phase.REJECTED: Phase.REJECTED, Phase.FAILED: Phase.FAILED})
"""The phases that lead to an end, and how the end is called."""


def step_of(update: Update) -> Step:
    """Return the step an update is at."""
    return STEPS[Phase(update.phase)]


# --- announcements


def announced(records: Records, desired: Desired, known: frozenset[str]) -> Records:
    """Note what the host wants; an announcement that is not newer than the last one changes nothing.

    Args:
        records: what is known.
        desired: the announcement.
        known: the names of the models the device is configured to run.
    """
    if desired.version <= records.v:
        return records
    records = replace(records, v=desired.version)
    for model in desired.models:
        wanted = Wanted(
            v=desired.version,
            version=model.version,
            target=model.target,
            repository=model.bundle,
            sha256=model.sha256,
            lease_s=desired.lease_s if desired.lease_s is not None and desired.lease_s > 0 else None,
            back=model.back,
        )
        if model.name in known:
            records = records.having(model.name, _wants(records.of(model.name), wanted))
        else:
            records = records.having(model.name, Record(outcome=_refusal(wanted, Reason.MODEL_UNKNOWN)))
    return records


def _wants(record: Record, wanted: Wanted) -> Record:
    record = replace(record, wanted=wanted)
    update = record.update
    if update is None:
        return record
    if _same(update.wanted, wanted):
        return replace(record, update=replace(update, wanted=wanted))
    if Phase(update.phase) is Phase.TRIAL:  # the host has thought better of it: once committed, there is no way back
        return failed(record, Reason.UPDATE_SUPERSEDED, {"by": wanted.version})
    if not step_of(update).replaceable:
        return record
    superseded = Outcome(
        v=update.wanted.v,
        version=update.wanted.version,
        phase=Phase.SUPERSEDED,
        sha256=update.sha256,
        reason=Reason.UPDATE_SUPERSEDED,
    )
    return replace(record, update=None, outcome=superseded)


def _same(one: Wanted, other: Wanted) -> bool:
    return replace(one, v=0, lease_s=None) == replace(other, v=0, lease_s=None)


def _refusal(wanted: Wanted, reason: Reason) -> Outcome:
    return Outcome(v=wanted.v, version=wanted.version, phase=Phase.REJECTED, reason=reason)


def due(record: Record, here: str | None = None, configured: str | None = None) -> Record | None:
    """Return the record with the update that is to begin, or with its outcome if it is installed; None if neither.

    Args:
        record: of a model or the agent.
        here: the version that is installed beside the slots, where that is known to be the release of its version.
        configured: the version of the model that the configuration names; gone back to by its version alone.
    """
    wanted = record.wanted
    if record.update is not None or wanted is None:
        return None
    if record.outcome is not None and record.outcome.v >= wanted.v:
        return None
    if record.outcome is not None and _proved_bad(record.outcome, wanted):
        return replace(record, outcome=replace(record.outcome, v=wanted.v))
    current = record.current
    if current is not None and (wanted.sha256 or current.sha256, wanted.version) == (current.sha256, current.version):
        outcome = Outcome(v=wanted.v, version=wanted.version, phase=Phase.COMMITTED, sha256=current.sha256)
        return replace(record, outcome=outcome)
    if current is None and wanted.version in {here, configured if wanted.back else here}:
        return replace(record, outcome=Outcome(v=wanted.v, version=wanted.version, phase=Phase.COMMITTED))
    return replace(record, update=_way_back(record, configured) or Update(wanted=wanted, phase=Phase.ANNOUNCED))


def _way_back(record: Record, configured: str | None) -> Update | None:
    """Return the update to the release before, which needs no fetching; None if that is not what is wanted, or gone."""
    wanted, previous = record.wanted, record.previous
    if wanted is None or not wanted.back:
        return None
    if previous is not None and (wanted.version, wanted.sha256 or previous.sha256) == (
        previous.version,
        previous.sha256,
    ):
        return Update(
            wanted=wanted,
            phase=Phase.STAGED,
            sha256=previous.sha256,
            counter=previous.counter,
            slot=previous.slot,
        )
    return Update(wanted=wanted, phase=Phase.STAGED) if wanted.version == configured else None


def offered(record: Record, wanted: Wanted, counter: int) -> Record | None:
    """Return the record with an update to what was found in the repository; None if that is no news."""
    newer = record.current is None or counter > record.current.counter
    if record.update is not None or not newer or _proved_bad(record.outcome, wanted):
        return None
    if record.left is not None and record.left == wanted.sha256:
        return None
    last = record.outcome
    if last is not None and last.sha256 == wanted.sha256 and last.phase == Phase.REJECTED and last.reason in _LASTING:
        return None
    return replace(record, update=Update(wanted=wanted, phase=Phase.ANNOUNCED))


def _proved_bad(outcome: Outcome | None, wanted: Wanted) -> bool:
    """Whether this very release was tried and rolled back: a device does not try it again and again."""
    if outcome is None or outcome.phase != Phase.FAILED or outcome.reason in _NOT_ITS_FAULT:
        return False
    return (wanted.version, wanted.sha256 or outcome.sha256) == (outcome.version, outcome.sha256)


# --- the way through


def succeeded(record: Record, found: Mapping[str, object]) -> Record:
    """Return the record after the act of its phase succeeded; `found` are fields of the update that are known now."""
    update = _update(record)
    following = step_of(update).done
    if following is None:
        return _ended(record)
    if update.writes >= MOST_WRITES:
        return failed(record, Reason.UPDATE_LOOP, {"writes": update.writes})
    if following is Phase.VERIFYING:
        slot = record.free_slot()
        found = {**found, "slot": slot}
        if record.previous is not None and record.previous.slot == slot:
            record = replace(record, previous=None)  # its place is taken; what serves stays
    record = replace(record, update=update.at(following, **found))
    return _switched(record) if following is Phase.COMMITTED else record


def failed(record: Record, reason: Reason, detail: Mapping[str, object]) -> Record:
    """Return the record after the act of its phase failed, or took too long."""
    update = _update(record)
    following = step_of(update).failed
    if following is None:
        return _ended(record)
    if following is Phase.CLEANUP or update.reason is not None:
        return replace(record, update=update.at(following))  # it is too late for, or has, a reason
    return replace(record, update=update.at(following, reason=reason.value, detail=dict(detail)))


def started(record: Record) -> Record:
    """Return the record of an update that a process finds when it starts: counted, and given up after too many."""
    update = _update(record)
    step = step_of(update)
    if update.attempts >= step.starts or update.writes >= MOST_WRITES:
        trial = Phase(update.phase) is Phase.TRIAL
        reason = Reason.REBOOT_LOOP if trial else Reason.UPDATE_LOOP
        return failed(record, reason, {"starts": update.attempts, "phase": update.phase})
    return replace(record, update=replace(update, attempts=update.attempts + 1, writes=update.writes + 1))


def abandoned(record: Record, reason: Reason, detail: Mapping[str, object]) -> Record:
    """Return the record of an update that is given up where it stands, because its next step cannot be written."""
    update = _update(record)
    end = Phase.REJECTED if step_of(update).replaceable else Phase.FAILED
    if update.reason is not None:
        return replace(record, update=update.at(end))
    return replace(record, update=update.at(end, reason=reason.value, detail=dict(detail)))


def _update(record: Record) -> Update:
    if record.update is None:
        raise ValueError("there is no update")
    return record.update


def _switched(record: Record) -> Record:
    """Let the slot that was tried be the current one: with the write of this, the update can no longer be undone."""
    update = _update(record)
    if update.wanted.back:
        return _gone_back(record, update)
    if update.slot is None or update.sha256 is None:
        raise ValueError("an update without a slot is committed")
    installed = Installed(slot=update.slot, version=update.wanted.version, sha256=update.sha256, counter=update.counter)
    return replace(record, current=installed, previous=record.current)


def _gone_back(record: Record, update: Update) -> Record:
    """Let the release before serve again; the one left is not what a damaged slot falls back to."""
    left = record.current.sha256 if record.current is not None else record.left
    if update.slot is None or update.sha256 is None:
        return replace(record, current=None, previous=None, left=left)
    return replace(record, current=record.previous, previous=None, left=left)


def _ended(record: Record) -> Record:
    update = _update(record)
    outcome = Outcome(
        v=update.wanted.v,
        version=update.wanted.version,
        phase=ENDS[Phase(update.phase)],
        sha256=update.sha256,
        reason=update.reason,
        detail=update.detail,
    )
    return replace(record, update=None, outcome=outcome)


def blobs_needed(records: Records) -> frozenset[str]:
    """Return the SHA-256 of the bundles that are to stay: of what serves, what served before, and what comes."""
    found: set[str] = set()
    for record in records.models.values():
        found |= {one.sha256 for one in (record.current, record.previous) if one is not None}
        update = record.update
        if update is not None and update.sha256 is not None and Phase(update.phase) not in ENDS:
            found.add(update.sha256)
    return frozenset(found)
