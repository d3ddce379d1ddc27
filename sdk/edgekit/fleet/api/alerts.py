"""Alerts: `/api/v1/alerts` and, under it, rules, silences, notifiers, tests of them, and what was.

Where a notifier leads to cannot be written here: only names of the service's file can be used.
"""

from collections.abc import Mapping
from typing import Annotated, Any

from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from edgekit.fleet import _clock
from edgekit.fleet.alerts.machine import Key
from edgekit.fleet.alerts.rules import UNITS, Rule, Silence
from edgekit.fleet.api.access import Operator, Viewer
from edgekit.fleet.api.context import InContext
from edgekit.fleet.api.errors import not_found
from edgekit.fleet.audit import Entry
from edgekit.fleet.query import parse

router = APIRouter(tags=["alerts"], prefix="/api/v1/alerts")

LONGEST_SILENCE_S = 30 * 86_400
Pattern = Annotated[str, Field(min_length=1, max_length=200)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]{0,63}$")]


class Alert(BaseModel):
    """An alert that is pending or firing; `unit` is what its values are in, empty for counts and shares."""

    rule: str
    group: str
    phase: str
    severity: str
    since_ms: int
    seen_ms: int
    fired_ms: int | None
    when: str
    value: float
    worst: float
    unit: str
    told: bool
    silenced: bool
    acked_ms: int | None
    acked_by: str | None


class Alerts(BaseModel):
    """What stands, the newest first."""

    alerts: list[Alert]


class RuleText(BaseModel):
    """A rule as it is written: `when` is `p99 > 50`, durations are `90s`, `5m`, `1h`."""

    when: Annotated[str, Field(max_length=200)]
    clear: float | None = None
    for_: Annotated[str | None, Field(alias="for", max_length=20)] = None
    resolve: Annotated[str | None, Field(max_length=20)] = None
    window: Annotated[str | None, Field(max_length=20)] = None
    by: str | None = None
    stage: str | None = None
    model: Annotated[str | None, Field(max_length=200)] = None
    version: Annotated[str | None, Field(max_length=200)] = None
    filter: Annotated[str | None, Field(max_length=500)] = None
    codes: Annotated[list[str] | None, Field(max_length=50)] = None
    least: int | None = None
    severity: str | None = None
    notify: Annotated[list[str] | None, Field(max_length=50)] = None
    note: Annotated[str | None, Field(max_length=500)] = None
    enabled: bool = True


class Which(BaseModel):
    """One alert."""

    rule: Name
    group: Annotated[str, Field(min_length=1, max_length=200)]


class NewSilence(BaseModel):
    """Whom not to tell, for how long; rule and group may end in `*`."""

    rule: Pattern = "*"
    group: Pattern = "*"
    seconds: Annotated[float, Field(gt=0, le=LONGEST_SILENCE_S)] = 3600.0
    comment: Annotated[str, Field(max_length=500)] = ""


class NewTest(BaseModel):
    """A notifier to be tested."""

    notifier: Name


class Made(BaseModel):
    """The number of what was made."""

    id: int


@router.get("")
def list_alerts(context: InContext, _who: Viewer) -> Alerts:
    """List what is pending or firing."""
    store, now = context.store.alerts, _clock.now_ms()
    rules, silences = store.rules(), store.silences(now)
    found = []
    for row in store.standing():
        one = row.standing
        rule = rules.get(one.key.rule)
        found.append(
            Alert(
                rule=one.key.rule, group=one.key.group, phase=one.phase, severity=rule.severity if rule else "info",
                since_ms=one.since_ms, seen_ms=one.seen_ms, fired_ms=one.fired_ms, value=one.value, worst=one.worst,
                when=rule.when if rule else "", unit=UNITS.get(rule.signal, "") if rule else "",
                told=one.told, silenced=any(each.covers(*one.key, now) for each in silences), acked_ms=row.acked_ms,
                acked_by=row.acked_by,
            )
        )  # fmt: skip
    return Alerts(alerts=found)


@router.get("/history")
def history(context: InContext, _who: Viewer, limit: Annotated[int, Query(ge=1, le=1000)] = 100) -> dict[str, Any]:
    """List what happened, the newest first."""
    rows = [{**row, "group": row["grp"]} for row in context.store.alerts.history(limit)]
    return {"history": [{key: value for key, value in row.items() if key != "grp"} for row in rows]}


@router.post("/ack", status_code=204)
def acknowledge(context: InContext, who: Operator, which: Which) -> None:
    """Note that somebody has seen an alert."""
    if not context.store.alerts.acknowledge(Key(which.rule, which.group), who.name, _clock.now_ms()):
        raise not_found(f"alert '{which.rule}' of '{which.group}'")
    _note(context, who.name, "alert-acknowledged", f"{which.rule} {which.group}", {})


@router.get("/rules")
def rules(context: InContext, _who: Viewer) -> dict[str, Any]:
    """List the rules, with `when` as it is written."""
    found = context.store.alerts.rules().values()
    return {"rules": [{**rule.to_json(), "when": rule.when} for rule in found]}


@router.put("/rules/{name}", status_code=204)
def put_rule(context: InContext, who: Operator, name: str, text: RuleText) -> None:
    """Add a rule, or put it in the place of one of that name."""
    settings = text.model_dump(exclude={"when", "for_"})
    rule = Rule.written(name, text.when, **{**settings, "for": text.for_})
    parse(rule.filter)
    context.store.alerts.put_rule(rule, who.name, _clock.now_ms())
    _note(context, who.name, "alert-rule-changed", name, rule.to_json())


@router.delete("/rules/{name}", status_code=204)
def remove_rule(context: InContext, who: Operator, name: str) -> None:
    """Remove a rule; its alerts are over."""
    if not context.store.alerts.remove_rule(name):
        raise not_found(f"rule '{name[:80]}'")
    _note(context, who.name, "alert-rule-removed", name, {})


@router.get("/silences")
def silences(context: InContext, _who: Viewer) -> dict[str, Any]:
    """List the silences that hold."""
    found = context.store.alerts.silences(_clock.now_ms())
    return {
        "silences": [
            {"id": one.id, "rule": one.rule, "group": one.group, "until_ms": one.until_ms, "by": one.by,
             "comment": one.comment}
            for one in found
        ]
    }  # fmt: skip


@router.post("/silences", status_code=201)
def add_silence(context: InContext, who: Operator, new: NewSilence) -> Made:
    """Tell nobody for a while."""
    now = _clock.now_ms()
    silence = Silence(
        id=0, rule=new.rule, group=new.group, until_ms=now + int(1000 * new.seconds), by=who.name, comment=new.comment,
        created_ms=now,
    )  # fmt: skip
    number = context.store.alerts.silence(silence)
    _note(context, who.name, "alert-silenced", f"{new.rule} {new.group}", {"id": number, "until_ms": silence.until_ms})
    return Made(id=number)


@router.delete("/silences/{number}", status_code=204)
def end_silence(context: InContext, who: Operator, number: int) -> None:
    """End a silence."""
    if not context.store.alerts.unsilence(number, _clock.now_ms()):
        raise not_found(f"silence {number}")
    _note(context, who.name, "alert-silence-ended", str(number), {})


@router.get("/notifiers")
def notifiers(context: InContext, _who: Viewer) -> dict[str, Any]:
    """List the notifiers' names and kinds; where they lead to is told to nobody."""
    found = context.store.alerts.notifiers()
    return {"notifiers": [{"name": name, "kind": kind} for name, kind in found.items()]}


@router.post("/tests", status_code=201)
def test_notifier(context: InContext, who: Operator, new: NewTest) -> Made:
    """Send a test by a notifier; ask for the message to see what became of it."""
    number = context.store.alerts.test(new.notifier, _clock.now_ms())
    _note(context, who.name, "alert-tested", new.notifier, {"id": number})
    return Made(id=number)


@router.get("/messages/{number}")
def message(context: InContext, _who: Viewer, number: int) -> dict[str, Any]:
    """Return a message: `state` is waiting, sent or given-up."""
    found = context.store.alerts.message(number)
    if found is None:
        raise not_found(f"message {number}")
    return {
        "id": found.id, "notifier": found.notifier, "rule": found.rule, "kind": found.kind, "state": found.state,
        "tries": found.tries, "problem": found.problem,
    }  # fmt: skip


def _note(context: InContext, who: str, action: str, subject: str, detail: Mapping[str, object]) -> None:
    context.store.audit.add(Entry(at_ms=_clock.now_ms(), who=who, action=action, subject=subject, detail=detail))
