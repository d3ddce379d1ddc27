"""Alerts in the database: rules, what stands, what was, silences, and messages on their way."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, delete, func, insert, select, update

from edgekit.errors import UsageError
from edgekit.fleet.alerts import messages
from edgekit.fleet.alerts.machine import Change, Key, Kind, Phase, Standing
from edgekit.fleet.alerts.rules import Rule, Silence
from edgekit.fleet.store.alert_tables import (
    ALERT_HISTORY,
    ALERT_MESSAGES,
    ALERT_NOTIFIERS,
    ALERT_RULES,
    ALERT_SILENCES,
    ALERTS,
)
from edgekit.fleet.store.engine import reading, writing

RULE_LIMIT = 500
KEPT_MS = 90 * 86_400_000
GATHER_MS = 5_000
LIMIT = 1_000


@dataclass(frozen=True, slots=True, kw_only=True)
class AlertRow:
    """An alert that stands, and who has seen it."""

    standing: Standing
    acked_ms: int | None = None
    acked_by: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class MessageRow:
    """A message for a notifier; `body` is as it is sent."""

    id: int
    notifier: str
    rule: str
    kind: str
    body: Mapping[str, Any]
    state: str
    created_ms: int
    due_ms: int
    tries: int
    problem: str


class Alerts:
    """Adds and reads all of alerts."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    # --- rules

    def rules(self) -> dict[str, Rule]:
        """Return the rules by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(ALERT_RULES).order_by(ALERT_RULES.c.name)).all()
        return {row.name: Rule.from_json(json.loads(row.body)) for row in rows}

    def put_rule(self, rule: Rule, source: str, now_ms: int) -> None:
        """Add a rule, or put it in the place of one of the same name.

        Raises:
            UsageError: if there are too many, a notifier is none, or the rule stands in the service's file.
        """
        with writing(self._engine) as connection:
            _check_notifiers(connection, rule)
            _check_source(connection, rule.name)
            if (connection.scalar(select(func.count()).select_from(ALERT_RULES)) or 0) >= RULE_LIMIT:
                raise UsageError(f"there are {RULE_LIMIT} rules, and no more are taken")
            _put_rule(connection, rule, source, now_ms)

    def remove_rule(self, name: str) -> bool:
        """Remove a rule, and return whether there was one; its alerts are over at the next look.

        Raises:
            UsageError: if the rule stands in the service's file.
        """
        with writing(self._engine) as connection:
            _check_source(connection, name)
            return connection.execute(delete(ALERT_RULES).where(ALERT_RULES.c.name == name)).rowcount > 0

    def configure(self, rules: Iterable[Rule], notifiers: Mapping[str, str], now_ms: int) -> None:
        """Take over what the service's file says, in place of what it said before.

        Args:
            rules: the rules of the file.
            notifiers: the kind of each notifier, by name.
            now_ms: the time.

        Raises:
            UsageError: if a rule names a notifier that is none.
        """
        with writing(self._engine) as connection:
            connection.execute(delete(ALERT_NOTIFIERS))
            if notifiers:
                rows = [{"name": name, "kind": kind} for name, kind in notifiers.items()]
                connection.execute(insert(ALERT_NOTIFIERS), rows)
            connection.execute(delete(ALERT_RULES).where(ALERT_RULES.c.source == "file"))
            for rule in rules:
                _check_notifiers(connection, rule)
                _put_rule(connection, rule, "file", now_ms)

    def notifiers(self) -> dict[str, str]:
        """Return the kind of each notifier, by name."""
        with reading(self._engine) as connection:
            rows = connection.execute(select(ALERT_NOTIFIERS).order_by(ALERT_NOTIFIERS.c.name)).all()
        return {row.name: row.kind for row in rows}

    # --- what stands and what was

    def standing(self) -> list[AlertRow]:
        """Return what is pending or firing, the newest first."""
        with reading(self._engine) as connection:
            return [_alert(row) for row in connection.execute(select(ALERTS).order_by(ALERTS.c.since_ms.desc()))]

    def history(self, limit: int = LIMIT) -> list[Mapping[str, Any]]:
        """Return what happened, the newest first."""
        query = select(ALERT_HISTORY).order_by(ALERT_HISTORY.c.id.desc()).limit(limit)
        with reading(self._engine) as connection:
            return [dict(row._mapping) for row in connection.execute(query)]  # noqa: SLF001  # SQLAlchemy's public name

    def acknowledge(self, key: Key, by: str, now_ms: int) -> bool:
        """Note that somebody has seen an alert; return whether it stands."""
        mine = (ALERTS.c.rule == key.rule) & (ALERTS.c.grp == key.group)
        with writing(self._engine) as connection:
            return connection.execute(update(ALERTS).where(mine).values(acked_ms=now_ms, acked_by=by)).rowcount > 0

    def save(
        self, rules: Mapping[str, Rule], after: Mapping[Key, Standing], changes: Sequence[Change], now_ms: int
    ) -> None:
        """Store what stands, what happened, and the messages about it, at once."""
        with writing(self._engine) as connection:
            before = {row.standing.key: row for row in map(_alert, connection.execute(select(ALERTS)).all())}
            _replace(connection, before, after)
            for change in changes:
                if change.kind is Kind.RESOLVED or change.standing.fired_ms == now_ms:
                    connection.execute(insert(ALERT_HISTORY).values(**_happened(change)))
            _enqueue(connection, rules, [one for one in changes if one.tell], now_ms)
            connection.execute(delete(ALERT_HISTORY).where(ALERT_HISTORY.c.at_ms < now_ms - KEPT_MS))
            done = (ALERT_MESSAGES.c.state != "waiting") & (ALERT_MESSAGES.c.created_ms < now_ms - KEPT_MS)
            connection.execute(delete(ALERT_MESSAGES).where(done))
            connection.execute(delete(ALERT_SILENCES).where(ALERT_SILENCES.c.until_ms < now_ms - KEPT_MS))

    # --- silences

    def silence(self, silence: Silence) -> int:
        """Add a silence; return its number."""
        values = {
            "rule": silence.rule, "grp": silence.group, "until_ms": silence.until_ms, "made_by": silence.by,
            "comment": silence.comment, "created_ms": silence.created_ms,
        }  # fmt: skip
        with writing(self._engine) as connection:
            made = connection.execute(insert(ALERT_SILENCES).values(**values)).inserted_primary_key
            return int(made[0]) if made else 0

    def silences(self, now_ms: int) -> list[Silence]:
        """Return the silences that hold."""
        query = select(ALERT_SILENCES).where(ALERT_SILENCES.c.until_ms > now_ms).order_by(ALERT_SILENCES.c.id)
        with reading(self._engine) as connection:
            return [
                Silence(
                    id=row.id, rule=row.rule, group=row.grp, until_ms=row.until_ms, by=row.made_by,
                    comment=row.comment, created_ms=row.created_ms,
                )
                for row in connection.execute(query)
            ]  # fmt: skip

    def unsilence(self, number: int, now_ms: int) -> bool:
        """End a silence; return whether it held."""
        mine = (ALERT_SILENCES.c.id == number) & (ALERT_SILENCES.c.until_ms > now_ms)
        with writing(self._engine) as connection:
            return connection.execute(update(ALERT_SILENCES).where(mine).values(until_ms=now_ms)).rowcount > 0

    # --- messages

    def test(self, notifier: str, now_ms: int) -> int:
        """Put a test of a notifier on its way; return the message's number.

        Raises:
            UsageError: if there is no such notifier.
        """
        with writing(self._engine) as connection:
            if connection.scalar(select(ALERT_NOTIFIERS.c.name).where(ALERT_NOTIFIERS.c.name == notifier)) is None:
                raise _no_notifier(connection, notifier)
            body = messages.message(None, "test", "test", [])
            return _add_message(connection, notifier, "test", "test", json.dumps(body), now_ms, now_ms)

    def message(self, number: int) -> MessageRow | None:
        """Return a message."""
        with reading(self._engine) as connection:
            row = connection.execute(select(ALERT_MESSAGES).where(ALERT_MESSAGES.c.id == number)).first()
        return None if row is None else _message(row)

    def due(self, now_ms: int, limit: int = 100) -> list[MessageRow]:
        """Return the messages whose time has come, the oldest first."""
        mine = (ALERT_MESSAGES.c.state == "waiting") & (ALERT_MESSAGES.c.due_ms <= now_ms)
        query = select(ALERT_MESSAGES).where(mine).order_by(ALERT_MESSAGES.c.id).limit(limit)
        with reading(self._engine) as connection:
            return [_message(row) for row in connection.execute(query)]

    def tried(self, number: int, state: str, due_ms: int, problem: str = "") -> None:
        """Note that a message was tried: `sent`, `given-up`, or `waiting` for its next time."""
        values = {
            "state": state, "due_ms": due_ms, "problem": problem[:500], "tries": ALERT_MESSAGES.c.tries + 1
        }  # fmt: skip
        with writing(self._engine) as connection:
            connection.execute(update(ALERT_MESSAGES).where(ALERT_MESSAGES.c.id == number).values(**values))


def _put_rule(connection: Connection, rule: Rule, source: str, now_ms: int) -> None:
    connection.execute(delete(ALERT_RULES).where(ALERT_RULES.c.name == rule.name))
    body = json.dumps(rule.to_json())
    connection.execute(insert(ALERT_RULES).values(name=rule.name, body=body, source=source, changed_ms=now_ms))


def _check_source(connection: Connection, name: str) -> None:
    if connection.scalar(select(ALERT_RULES.c.source).where(ALERT_RULES.c.name == name)) == "file":
        raise UsageError(f"the rule '{name}' stands in the service's file, and is changed there")


def _check_notifiers(connection: Connection, rule: Rule) -> None:
    known = set(connection.scalars(select(ALERT_NOTIFIERS.c.name)))
    for name in rule.notify:
        if name not in known:
            raise _no_notifier(connection, name)


def _no_notifier(connection: Connection, name: str) -> UsageError:
    known = sorted(connection.scalars(select(ALERT_NOTIFIERS.c.name)))
    error = UsageError(f"there is no notifier '{name[:80]}'")
    error.add_note(
        f"there are: {', '.join(known)}"
        if known
        else "they stand in alerts.toml in the service's folder, which names none; the service reads it when it starts"
    )
    return error


def _replace(connection: Connection, before: Mapping[Key, AlertRow], after: Mapping[Key, Standing]) -> None:
    for key, row in before.items():
        if after.get(key) != row.standing:
            connection.execute(delete(ALERTS).where((ALERTS.c.rule == key.rule) & (ALERTS.c.grp == key.group)))
    rows = []
    for key, standing in after.items():
        known = before.get(key)
        if known is None or known.standing != standing:
            seen = {"acked_ms": known.acked_ms, "acked_by": known.acked_by} if known else _NOBODY
            rows.append(_values(standing) | seen)
    if rows:
        connection.execute(insert(ALERTS), rows)


_NOBODY: dict[str, Any] = {"acked_ms": None, "acked_by": None}


def _values(standing: Standing) -> dict[str, Any]:
    return {
        "rule": standing.key.rule, "grp": standing.key.group, "phase": standing.phase.value,
        "since_ms": standing.since_ms, "seen_ms": standing.seen_ms, "value": standing.value, "worst": standing.worst,
        "fired_ms": standing.fired_ms, "calm_ms": standing.calm_ms, "told": int(standing.told),
    }  # fmt: skip


def _alert(row: Row[Any]) -> AlertRow:
    standing = Standing(
        key=Key(row.rule, row.grp), phase=Phase(row.phase), since_ms=row.since_ms, seen_ms=row.seen_ms,
        value=row.value, worst=row.worst, fired_ms=row.fired_ms, calm_ms=row.calm_ms, told=bool(row.told),
    )  # fmt: skip
    return AlertRow(standing=standing, acked_ms=row.acked_ms, acked_by=row.acked_by)


def _happened(change: Change) -> dict[str, Any]:
    standing = change.standing
    return {
        "rule": standing.key.rule, "grp": standing.key.group, "kind": change.kind.value, "at_ms": change.at_ms,
        "value": standing.value, "worst": standing.worst, "reason": change.reason,
    }  # fmt: skip


def _enqueue(connection: Connection, rules: Mapping[str, Rule], changes: Sequence[Change], now_ms: int) -> None:
    """Put what is to be told on its way: into a message that still waits to be gathered, or a new one."""
    told: dict[tuple[str, Kind], list[dict[str, Any]]] = {}
    for change in changes:
        told.setdefault((change.standing.key.rule, change.kind), []).append(messages.item(change))
    known = set(connection.scalars(select(ALERT_NOTIFIERS.c.name)))
    for (name, kind), items in told.items():
        rule = rules.get(name)
        for notifier in rule.notify if rule and rule.notify else sorted(known):
            gathering = connection.execute(
                select(ALERT_MESSAGES).where(
                    (ALERT_MESSAGES.c.notifier == notifier) & (ALERT_MESSAGES.c.rule == name)
                    & (ALERT_MESSAGES.c.kind == kind.value) & (ALERT_MESSAGES.c.state == "waiting")
                    & (ALERT_MESSAGES.c.tries == 0) & (ALERT_MESSAGES.c.due_ms > now_ms)
                )
            ).first()  # fmt: skip
            if gathering is not None:
                mine = ALERT_MESSAGES.c.id == gathering.id
                body = messages.joined(gathering.body, items)
                connection.execute(update(ALERT_MESSAGES).where(mine).values(body=body))
            else:
                body = json.dumps(messages.message(rule, name, kind, items))
                _add_message(connection, notifier, name, kind.value, body, now_ms, now_ms + GATHER_MS)


def _add_message(  # noqa: PLR0913, PLR0917  # the columns
    connection: Connection, notifier: str, rule: str, kind: str, body: str, now_ms: int, due_ms: int
) -> int:
    values = {
        "notifier": notifier, "rule": rule, "kind": kind, "body": body, "state": "waiting", "created_ms": now_ms,
        "due_ms": due_ms, "tries": 0, "problem": "",
    }  # fmt: skip
    made = connection.execute(insert(ALERT_MESSAGES).values(**values)).inserted_primary_key
    return int(made[0]) if made else 0


def _message(row: Row[Any]) -> MessageRow:
    values = dict(row._mapping)  # noqa: SLF001  # SQLAlchemy's public name
    return MessageRow(**{**values, "body": json.loads(row.body)})
