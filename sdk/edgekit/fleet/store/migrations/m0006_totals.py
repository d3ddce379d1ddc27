"""Totals since the beginning, and where readers of the store have come to."""

from collections.abc import Mapping

_TABLES = (
    """\
CREATE TABLE totals (
  site TEXT NOT NULL, hardware TEXT NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, device TEXT NOT NULL,
  first_ms {whole} NOT NULL, last_ms {whole} NOT NULL, reports {whole} NOT NULL, window_s {real} NOT NULL,
  inferences {whole} NOT NULL, errors {whole} NOT NULL, dropped {whole} NOT NULL,
  pre {bytes}, infer {bytes}, post {bytes}, e2e {bytes}, queue {bytes}, gauges TEXT,
  PRIMARY KEY (site, hardware, model, version, device)
)""",
    "CREATE TABLE marks (name TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
)


def statements(types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    return tuple(statement.format(**types) for statement in _TABLES)
