"""Rollouts with their devices, what each device is wanted to be, and the audit log."""

from collections.abc import Mapping

_TABLES = (
    """\
CREATE TABLE rollouts (
  id TEXT NOT NULL PRIMARY KEY, rev {whole} NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, filter TEXT NOT NULL,
  plan TEXT NOT NULL, status TEXT NOT NULL, reason TEXT NOT NULL, step TEXT NOT NULL, wave {whole} NOT NULL,
  since_ms {whole} NOT NULL, deadline_ms {whole}, created_ms {whole} NOT NULL, created_by TEXT NOT NULL,
  ended_ms {whole}, findings TEXT NOT NULL
)""",
    """\
CREATE TABLE rollout_jobs (
  rollout TEXT NOT NULL, site TEXT NOT NULL, device TEXT NOT NULL, wave {whole} NOT NULL, position {whole} NOT NULL,
  status TEXT NOT NULL, reason TEXT NOT NULL, since_ms {whole} NOT NULL, deadline_ms {whole}, told_ms {whole},
  committed_ms {whole}, v {whole} NOT NULL, tries {whole} NOT NULL, before TEXT,
  PRIMARY KEY (rollout, site, device)
)""",
    """\
CREATE TABLE rollout_holds (
  site TEXT NOT NULL, device TEXT NOT NULL, rollout TEXT NOT NULL, PRIMARY KEY (site, device)
)""",
    """\
CREATE TABLE desired (
  site TEXT NOT NULL, device TEXT NOT NULL, v {whole} NOT NULL, published_v {whole} NOT NULL, models TEXT NOT NULL,
  conf TEXT NOT NULL, rollout TEXT NOT NULL, lease_s {real} NOT NULL, changed_ms {whole} NOT NULL,
  PRIMARY KEY (site, device)
)""",
    """\
CREATE TABLE audit (
  id {number}, at_ms {whole} NOT NULL, who TEXT NOT NULL, action TEXT NOT NULL, subject TEXT NOT NULL,
  detail TEXT NOT NULL, digest TEXT NOT NULL
)""",
    "CREATE INDEX audit_subject ON audit (subject, id)",
)
_SQLITE = tuple(
    f"CREATE TRIGGER audit_no_{event.lower()} BEFORE {event} ON audit "
    "BEGIN SELECT RAISE(ABORT, 'the audit log is only appended to'); END"
    for event in ("UPDATE", "DELETE")
)
_POSTGRESQL = (
    """\
CREATE FUNCTION audit_kept() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN RAISE EXCEPTION 'the audit log is only appended to'; END $$""",
    "CREATE TRIGGER audit_no_change BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION audit_kept()",
)


def statements(types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    guards = _SQLITE if types["bytes"] == "BLOB" else _POSTGRESQL
    return (*(statement.format(**types) for statement in _TABLES), *guards)
