"""How updates stand, for the retained `reported` message and as events."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit_agent.protocol import ModelPhase, Reason, Reported
from edgekit_agent.update.records import Outcome, Phase, Record, Records
from edgekit_agent.update.updater import Refused

EVENTS: Mapping[str, tuple[str, Reason]] = {
    Phase.COMMITTED: ("info", Reason.UPDATE_COMMITTED),
    Phase.REJECTED: ("error", Reason.UPDATE_REJECTED),
    Phase.FAILED: ("error", Reason.UPDATE_FAILED),
    Phase.SUPERSEDED: ("info", Reason.UPDATE_SUPERSEDED),
}
"""How an end of an update is told: level and code."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """How an update on its way is, beside what is on the disk.

    `trouble` is why it does not go on at the moment, `progress` the share of its bundle that is downloaded, `question`
    what the host is asked for leave with.
    """

    trouble: Refused | None = None
    progress: float | None = None
    question: str | None = None


NOTHING_ON_ITS_WAY = Way()


def reported(
    records: Records,
    serving: Mapping[str, str],
    way: Way = NOTHING_ON_ITS_WAY,
) -> Reported:
    """Return the message.

    Args:
        records: what is known.
        serving: the version of each model that serves now.
        way: how the update on its way is.
    """
    phases = [
        _phase(name, records.of(name), serving.get(name), way)
        for name in {**dict.fromkeys(serving), **dict.fromkeys(records.models)}
    ]
    return Reported(version=records.v, models=tuple(one for one in phases if one is not None))


def _phase(
    name: str,
    record: Record,
    serving: str | None,
    way: Way,
) -> ModelPhase | None:
    update, outcome = record.update, record.outcome
    if update is not None and Phase(update.phase) is not Phase.ANNOUNCED:
        trouble, progress = way.trouble, way.progress
        reason = update.reason or (trouble.reason.value if trouble is not None else None)
        if reason is None and way.question is not None:
            reason = Reason.LEASE_AWAITED.value
        return ModelPhase(
            name=name,
            version=update.wanted.version,
            phase=update.phase,
            reason=reason,
            serving=serving,
            progress=None if progress is None else round(progress, 3),
            detail=update.detail or (trouble.detail if trouble is not None else None),
            lease=way.question,
        )
    if update is not None:
        return ModelPhase(name=name, version=update.wanted.version, phase=update.phase, serving=serving)
    if outcome is not None:
        return ModelPhase(
            name=name,
            version=outcome.version,
            phase=outcome.phase,
            reason=outcome.reason,
            serving=serving,
            detail=outcome.detail or None,
        )
    if serving is None:
        return None
    return ModelPhase(name=name, version=serving, phase=Phase.COMMITTED, serving=serving)


def detail_of(outcome: Outcome) -> dict[str, object]:
    """Return an event's detail."""
    reason = {"reason": outcome.reason} if outcome.reason is not None else {}
    return {"version": outcome.version, **reason, **outcome.detail}
