"""When an alert begins, is told, and is over: a function of rules, what was seen, what stood, and the time. No I/O.

    nothing --beyond--> pending --beyond for for_s--> firing --not beyond clear for resolve_s--> over
    pending --not beyond--> nothing

A value between `clear` and the threshold changes nothing of a firing alert. One that is not seen any more (a device
that is off) is over after `STALE_S` with that reason: it is not known to be well.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import NamedTuple

from edgekit.fleet.alerts.rules import Rule, Silence

STALE_S = 3600.0


class Key(NamedTuple):
    """Which alert: the rule, and the device, version, ... it is of."""

    rule: str
    group: str


class Phase(StrEnum):
    """How far an alert is."""

    PENDING = "pending"
    FIRING = "firing"


class Kind(StrEnum):
    """What happened."""

    FIRED = "fired"
    RESOLVED = "resolved"


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """A value of a group, of so many samples."""

    rule: str
    group: str
    value: float
    samples: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """An alert that is pending or firing; `told` says that somebody was told that it fires."""

    key: Key
    phase: Phase
    since_ms: int
    seen_ms: int
    value: float
    worst: float
    fired_ms: int | None = None
    calm_ms: int | None = None
    told: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """Something that happened to an alert; `tell` says that it is to be told."""

    kind: Kind
    standing: Standing
    at_ms: int
    tell: bool
    reason: str = ""


def step(
    rules: Mapping[str, Rule],
    observations: Iterable[Observation],
    standings: Sequence[Standing],
    silences: Sequence[Silence],
    now_ms: int,
) -> tuple[dict[Key, Standing], list[Change]]:
    """Return what stands now, and what happened.

    Args:
        rules: those in force, by name.
        observations: what was seen this time; a group that was not is left out.
        standings: what this function returned the last time.
        silences: whom not to tell.
        now_ms: the time; it may stand still or go back, which moves nothing backwards.
    """
    seen = {Key(one.rule, one.group): one for one in observations if _counts(rules.get(one.rule), one)}
    before = {one.key: one for one in standings}
    after: dict[Key, Standing] = {}
    changes: list[Change] = []
    for key in sorted(before.keys() | seen.keys()):
        rule = rules.get(key.rule)
        standing, change = _one(rule, before.get(key), seen.get(key), key, now_ms)
        if change is not None:
            changes.append(change)
        if standing is not None:
            after[key] = standing
    quiet = [one for one in silences if one.until_ms > now_ms]
    for key, standing in after.items():
        silenced = any(one.covers(key.rule, key.group, now_ms) for one in quiet)
        if standing.phase is Phase.FIRING and not standing.told and not silenced:
            after[key] = replace(standing, told=True)
            changes = [one for one in changes if (one.standing.key, one.kind) != (key, Kind.FIRED)]
            changes.append(Change(kind=Kind.FIRED, standing=after[key], at_ms=now_ms, tell=True))
    return after, changes


def _counts(rule: Rule | None, observation: Observation) -> bool:
    return rule is not None and rule.enabled and observation.samples >= rule.least


def _one(
    rule: Rule | None, before: Standing | None, seen: Observation | None, key: Key, now_ms: int
) -> tuple[Standing | None, Change | None]:
    if rule is None or not rule.enabled:
        return _over(before, now_ms, "the rule is gone or off")
    if seen is None:
        if before is None or before.phase is Phase.PENDING:
            return None, None
        if now_ms - before.seen_ms >= 1000 * STALE_S:
            return _over(before, now_ms, "nothing was seen of it any more")
        return replace(before, calm_ms=None), None
    if before is None:
        if not rule.beyond(seen.value):
            return None, None
        before = Standing(
            key=key, phase=Phase.PENDING, since_ms=now_ms, seen_ms=now_ms, value=seen.value, worst=seen.value
        )
    worst = max(before.worst, seen.value) if rule.above else min(before.worst, seen.value)
    now = replace(before, seen_ms=now_ms, value=seen.value, worst=worst)
    return _pending(rule, now, now_ms) if now.phase is Phase.PENDING else _firing(rule, now, now_ms)


def _pending(rule: Rule, now: Standing, now_ms: int) -> tuple[Standing | None, Change | None]:
    if not rule.beyond(now.value):
        return None, None
    if now_ms - now.since_ms < 1000 * rule.for_s:
        return now, None
    fired = replace(now, phase=Phase.FIRING, fired_ms=now_ms)
    return fired, Change(kind=Kind.FIRED, standing=fired, at_ms=now_ms, tell=False)


def _firing(rule: Rule, now: Standing, now_ms: int) -> tuple[Standing | None, Change | None]:
    if not rule.calm(now.value):
        return replace(now, calm_ms=None), None
    calm = now.calm_ms if now.calm_ms is not None else now_ms
    if now_ms - calm < 1000 * rule.resolve_s:
        return replace(now, calm_ms=calm), None
    return _over(now, now_ms, "")


def _over(before: Standing | None, now_ms: int, reason: str) -> tuple[None, Change | None]:
    """End an alert; who was told that it fires is told that it is over, silence or not."""
    if before is None or before.phase is Phase.PENDING:
        return None, None
    return None, Change(kind=Kind.RESOLVED, standing=before, at_ms=now_ms, tell=before.told, reason=reason)
