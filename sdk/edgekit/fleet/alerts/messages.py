"""What is told: one message for all that happened to a rule at about the same time. No I/O."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from edgekit.fleet.alerts.machine import Change, Kind
from edgekit.fleet.alerts.rules import Rule

SHOWN = 50


def item(change: Change) -> dict[str, Any]:
    """Return what is told of one alert."""
    standing = change.standing
    told = {
        "group": standing.key.group,
        "value": standing.value,
        "worst": standing.worst,
        "since_ms": standing.since_ms,
        "at_ms": change.at_ms,
    }
    return {**told, "reason": change.reason} if change.reason else told


def message(rule: Rule | None, name: str, kind: Kind | str, items: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return a message of schema 1; at most 50 alerts are listed, all are counted."""
    return {
        "schema": 1,
        "kind": str(kind),
        "rule": name,
        "severity": rule.severity if rule else "info",
        "when": rule.when if rule else "",
        "note": rule.note if rule else "",
        "count": len(items),
        "alerts": list(items)[:SHOWN],
    }


def joined(body: str, items: Sequence[Mapping[str, Any]]) -> str:
    """Return a message that waits with more alerts in it."""
    found = json.loads(body)
    found["count"] += len(items)
    found["alerts"] = [*found["alerts"], *items][:SHOWN]
    return json.dumps(found)


def subject(body: Mapping[str, Any]) -> str:
    """Return one line about a message."""
    if body["kind"] == "test":
        return "EdgeKit: a test of this notifier"
    what = body["alerts"][0]["group"] if body["count"] == 1 else f"{body['count']} alerts"
    state = "over" if body["kind"] == Kind.RESOLVED else body["severity"]
    return f"EdgeKit: {body['rule']} {state}: {what}"


def text(body: Mapping[str, Any]) -> str:
    """Return a message for people."""
    lines = [subject(body), ""]
    if body["when"]:
        lines.append(f"rule: {body['when']}")
    if body["note"]:
        lines.append(body["note"])
    for one in body["alerts"]:
        reason = f" ({one['reason']})" if one.get("reason") else ""
        lines.append(f"- {one['group']}: {one['value']:g}, worst {one['worst']:g}{reason}")
    if body["count"] > len(body["alerts"]):
        lines.append(f"- and {body['count'] - len(body['alerts'])} more")
    return "\n".join(lines) + "\n"
