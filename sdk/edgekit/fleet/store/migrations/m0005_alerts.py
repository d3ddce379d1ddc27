"""Alerts: rules, what stands, what was, silences, and messages on their way."""

from collections.abc import Mapping

_TABLES = (
    """\
CREATE TABLE alert_rules (
  name TEXT NOT NULL PRIMARY KEY, body TEXT NOT NULL, source TEXT NOT NULL, changed_ms {whole} NOT NULL
)""",
    """\
CREATE TABLE alerts (
  rule TEXT NOT NULL, grp TEXT NOT NULL, phase TEXT NOT NULL, since_ms {whole} NOT NULL, seen_ms {whole} NOT NULL,
  value {real} NOT NULL, worst {real} NOT NULL, fired_ms {whole}, calm_ms {whole}, told {whole} NOT NULL,
  acked_ms {whole}, acked_by TEXT, PRIMARY KEY (rule, grp)
)""",
    """\
CREATE TABLE alert_history (
  id {number}, rule TEXT NOT NULL, grp TEXT NOT NULL, kind TEXT NOT NULL, at_ms {whole} NOT NULL,
  value {real} NOT NULL, worst {real} NOT NULL, reason TEXT NOT NULL
)""",
    "CREATE INDEX alert_history_at ON alert_history (at_ms)",
    """\
CREATE TABLE alert_silences (
  id {number}, rule TEXT NOT NULL, grp TEXT NOT NULL, until_ms {whole} NOT NULL, made_by TEXT NOT NULL,
  comment TEXT NOT NULL, created_ms {whole} NOT NULL
)""",
    "CREATE TABLE alert_notifiers (name TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL)",
    """\
CREATE TABLE alert_messages (
  id {number}, notifier TEXT NOT NULL, rule TEXT NOT NULL, kind TEXT NOT NULL, body TEXT NOT NULL, state TEXT NOT NULL,
  created_ms {whole} NOT NULL, due_ms {whole} NOT NULL, tries {whole} NOT NULL, problem TEXT NOT NULL
)""",
    "CREATE INDEX alert_messages_due ON alert_messages (state, due_ms)",
)


def statements(types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    return tuple(statement.format(**types) for statement in _TABLES)
