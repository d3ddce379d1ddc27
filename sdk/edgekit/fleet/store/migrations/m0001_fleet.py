"""Devices, reports, their roll-ups, events and counters."""

from collections.abc import Mapping

_ROLLUP = """\
CREATE TABLE {name} (
  start_ms {whole} NOT NULL, device_id {whole} NOT NULL, variant_id {whole} NOT NULL, reports {whole} NOT NULL,
  window_s {real} NOT NULL, inferences {whole} NOT NULL, errors {whole} NOT NULL, dropped {whole} NOT NULL,
  pre {bytes}, infer {bytes}, post {bytes}, e2e {bytes}, queue {bytes}, gauges TEXT, error_kinds TEXT,
  PRIMARY KEY (start_ms, device_id, variant_id)
) {clustered}"""

_TABLES = (
    "CREATE TABLE meta (key TEXT NOT NULL PRIMARY KEY, value TEXT NOT NULL)",
    """\
CREATE TABLE devices (
  id {number}, site TEXT NOT NULL, device TEXT NOT NULL, first_seen_ms {whole} NOT NULL, last_seen_ms {whole} NOT NULL,
  state TEXT, birth {whole}, boot TEXT, state_ts_ms {whole}, state_at_ms {whole}, agent TEXT,
  heartbeat_s {real}, why TEXT, presence TEXT NOT NULL DEFAULT 'unknown',
  presence_reason TEXT NOT NULL DEFAULT 'never-seen', presence_since_ms {whole} NOT NULL DEFAULT 0, info TEXT,
  labels TEXT NOT NULL DEFAULT '{{}}', hardware TEXT NOT NULL DEFAULT '{{}}', reported_version {whole}, reported TEXT,
  reported_at_ms {whole}, CONSTRAINT devices_name UNIQUE (site, device)
)""",
    """\
CREATE TABLE device_models (
  device_id {whole} NOT NULL, model TEXT NOT NULL, version TEXT NOT NULL, artifact TEXT NOT NULL,
  runtime TEXT NOT NULL DEFAULT '', seen_ms {whole} NOT NULL, PRIMARY KEY (device_id, model)
)""",
    """\
CREATE TABLE variants (
  id {number}, model TEXT NOT NULL, version TEXT NOT NULL, artifact TEXT NOT NULL, runtime TEXT NOT NULL,
  executed_on TEXT NOT NULL, CONSTRAINT variants_parts UNIQUE (model, version, artifact, runtime, executed_on)
)""",
    """\
CREATE TABLE boots (
  id {number}, device_id {whole} NOT NULL, boot TEXT NOT NULL, watermark {whole} NOT NULL, above TEXT NOT NULL,
  clock_ms {whole}, live_ms {whole} NOT NULL, last_ms {whole} NOT NULL, CONSTRAINT boots_name UNIQUE (device_id, boot)
)""",
    """\
CREATE TABLE reports (
  id {number}, device_id {whole} NOT NULL, boot_id {whole} NOT NULL, seq {whole} NOT NULL, variant_id {whole} NOT NULL,
  at_ms {whole} NOT NULL, ts_ms {whole} NOT NULL, arrived_ms {whole} NOT NULL, history {whole} NOT NULL,
  window_s {real} NOT NULL, inferences {whole} NOT NULL, errors {whole} NOT NULL, dropped {whole} NOT NULL,
  pre {bytes}, infer {bytes}, post {bytes}, e2e {bytes}, queue {bytes}, cpu {real}, rss {real}, temp {real}, thr {real},
  freq {real}, pow {real}, depth {real}, error_kinds TEXT, statistics TEXT
)""",
    "CREATE INDEX reports_device ON reports (device_id, at_ms)",
    _ROLLUP.replace("{name}", "minutes"),
    "CREATE INDEX minutes_device ON minutes (device_id, start_ms)",
    _ROLLUP.replace("{name}", "hours"),
    "CREATE INDEX hours_device ON hours (device_id, start_ms)",
    """\
CREATE TABLE events (
  id {number}, device_id {whole} NOT NULL, ts_ms {whole} NOT NULL, arrived_ms {whole} NOT NULL, level TEXT NOT NULL,
  code TEXT NOT NULL, text TEXT NOT NULL, model TEXT, boot TEXT, detail TEXT NOT NULL DEFAULT '{{}}',
  digest TEXT NOT NULL, CONSTRAINT events_once UNIQUE (device_id, ts_ms, digest)
)""",
    "CREATE INDEX events_arrived ON events (arrived_ms)",
    """\
CREATE TABLE counters (
  source TEXT NOT NULL, name TEXT NOT NULL, value {whole} NOT NULL, PRIMARY KEY (source, name)
)""",
    "INSERT INTO meta (key, value) VALUES ('epoch', '0'), ('writer', ''), ('rolled', '0')",
)


def statements(types: Mapping[str, str]) -> tuple[str, ...]:
    """Return the statements of this step."""
    return tuple(statement.format(**types) for statement in _TABLES)
