"""What operators asked of devices, and the answers."""

from collections.abc import Mapping


def statements(types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    table = """\
CREATE TABLE commands (
  id TEXT NOT NULL PRIMARY KEY, site TEXT NOT NULL, device TEXT NOT NULL, op TEXT NOT NULL, args TEXT NOT NULL,
  who TEXT NOT NULL, created_ms {whole} NOT NULL, expires_ms {whole} NOT NULL, status TEXT NOT NULL, progress {real},
  reason TEXT, text TEXT, result TEXT, answered_ms {whole}
)"""
    return (table.format(**types), "CREATE INDEX commands_created ON commands (created_ms)")
