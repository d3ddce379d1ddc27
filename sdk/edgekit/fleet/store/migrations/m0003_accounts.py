"""Who may use the service: users, their sessions, and tokens for programs."""

from collections.abc import Mapping

_TABLES = (
    """\
CREATE TABLE users (
  name TEXT NOT NULL PRIMARY KEY, password TEXT NOT NULL, role TEXT NOT NULL, created_ms {whole} NOT NULL,
  login_ms {whole}
)""",
    """\
CREATE TABLE sessions (
  id TEXT NOT NULL PRIMARY KEY, kind TEXT NOT NULL, subject TEXT NOT NULL, created_ms {whole} NOT NULL,
  seen_ms {whole} NOT NULL, expires_ms {whole} NOT NULL, address TEXT NOT NULL
)""",
    "CREATE INDEX sessions_subject ON sessions (kind, subject)",
    """\
CREATE TABLE tokens (
  id TEXT NOT NULL PRIMARY KEY, digest TEXT NOT NULL, name TEXT NOT NULL, role TEXT NOT NULL,
  created_ms {whole} NOT NULL, created_by TEXT NOT NULL, expires_ms {whole}, used_ms {whole},
  CONSTRAINT tokens_digest UNIQUE (digest)
)""",
)


def statements(types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    return tuple(statement.format(**types) for statement in _TABLES)
