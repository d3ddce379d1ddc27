"""The tables as they are after all migrations; `migrations/` makes them, a test compares the two.

Times are milliseconds since 1970 (UTC). A latency stage is a packed histogram (`packing.py`), NULL when nothing was
measured. Rows of reports and roll-ups name their device, boot and variant by number.
"""

from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.types import TypeEngine

METADATA = MetaData()
STAGES = ("pre", "infer", "post", "e2e", "queue")
GAUGES = ("cpu", "rss", "temp", "thr", "freq", "pow", "depth")

# SQLite gives numbers by itself to a column that is INTEGER and nothing else
_BIG = BigInteger().with_variant(Integer, "sqlite")


def _whole(name: str) -> Column[int]:
    return Column(name, _BIG, nullable=False)


def _maybe(name: str, kind: TypeEngine[Any] | None = None) -> Column[object]:
    return Column(name, _BIG if kind is None else kind, nullable=True)


def _text(name: str) -> Column[str]:
    return Column(name, Text, nullable=False)


def _number() -> Column[int]:
    return Column("id", _BIG, primary_key=True, autoincrement=True)


def _stages() -> list[Column[object]]:
    return [_maybe(name, LargeBinary()) for name in STAGES]


META = Table("meta", METADATA, Column("key", Text, primary_key=True), _text("value"))
"""Small facts: `epoch` grows when devices are removed, `writer` stored last, `rolled` is the last report rolled up."""

DEVICES = Table(
    "devices",
    METADATA,
    _number(),
    _text("site"),
    _text("device"),
    _whole("first_seen_ms"),
    _whole("last_seen_ms"),  # of any message but reports: those are in `boots`
    # what `state` says, and when it came
    _maybe("state", Text()),
    _maybe("birth"),
    _maybe("boot", Text()),
    _maybe("state_ts_ms"),
    _maybe("state_at_ms"),
    _maybe("agent", Text()),
    _maybe("heartbeat_s", Double()),
    _maybe("why", Text()),
    # what is concluded from it
    Column("presence", Text, nullable=False, server_default="unknown"),
    Column("presence_reason", Text, nullable=False, server_default="never-seen"),
    Column("presence_since_ms", _BIG, nullable=False, server_default="0"),
    # JSON documents as they came, and the parts that filters ask for
    _maybe("info", Text()),
    Column("labels", Text, nullable=False, server_default="{}"),
    Column("hardware", Text, nullable=False, server_default="{}"),
    _maybe("reported_version"),
    _maybe("reported", Text()),
    _maybe("reported_at_ms"),
    UniqueConstraint("site", "device", name="devices_name"),
)

DEVICE_MODELS = Table(
    "device_models",
    METADATA,
    _whole("device_id"),
    _text("model"),
    _text("version"),
    _text("artifact"),
    Column("runtime", Text, nullable=False, server_default=""),
    _whole("seen_ms"),
    PrimaryKeyConstraint("device_id", "model"),
)
"""What a device serves now: of each model the version of its newest live report, or what its `info` says."""

VARIANTS = Table(
    "variants",
    METADATA,
    _number(),
    _text("model"),
    _text("version"),
    _text("artifact"),
    _text("runtime"),
    _text("executed_on"),  # JSON list
    UniqueConstraint("model", "version", "artifact", "runtime", "executed_on", name="variants_parts"),
)

BOOTS = Table(
    "boots",
    METADATA,
    _number(),
    _whole("device_id"),
    _text("boot"),
    _whole("watermark"),  # every report up to it is stored, or lost to the device too
    _text("above"),  # JSON list of [first, last]: what is stored above it
    _maybe("clock_ms"),  # what to add to the device's clock, known from its live reports
    _whole("live_ms"),  # when the newest live report came
    _whole("last_ms"),
    UniqueConstraint("device_id", "boot", name="boots_name"),
)

REPORTS = Table(
    "reports",
    METADATA,
    _number(),  # in the order of commits
    _whole("device_id"),
    _whole("boot_id"),
    _whole("seq"),
    _whole("variant_id"),
    _whole("at_ms"),  # when its window ended, on the host's clock
    _whole("ts_ms"),  # the same on the device's clock
    _whole("arrived_ms"),
    _whole("history"),
    Column("window_s", Double, nullable=False),
    _whole("inferences"),
    _whole("errors"),
    _whole("dropped"),
    *_stages(),
    _maybe("cpu", Double()),
    _maybe("rss", Double()),
    _maybe("temp", Double()),
    _maybe("thr", Double()),
    _maybe("freq", Double()),
    _maybe("pow", Double()),
    _maybe("depth", Double()),  # requests waiting
    _maybe("error_kinds", Text()),  # JSON
    _maybe("statistics", Text()),  # JSON
    Index("reports_device", "device_id", "at_ms"),
    sqlite_autoincrement=True,
)


def _rollup(name: str) -> Table:
    return Table(
        name,
        METADATA,
        _whole("start_ms"),
        _whole("device_id"),
        _whole("variant_id"),
        _whole("reports"),
        Column("window_s", Double, nullable=False),
        _whole("inferences"),
        _whole("errors"),
        _whole("dropped"),
        *_stages(),
        _maybe("gauges", Text()),  # JSON: name -> [count, sum, least, most]
        _maybe("error_kinds", Text()),
        PrimaryKeyConstraint("start_ms", "device_id", "variant_id"),
        Index(f"{name}_device", "device_id", "start_ms"),
        sqlite_with_rowid=False,
    )


MINUTES = _rollup("minutes")
HOURS = _rollup("hours")

EVENTS = Table(
    "events",
    METADATA,
    _number(),
    _whole("device_id"),
    _whole("ts_ms"),
    _whole("arrived_ms"),
    _text("level"),
    _text("code"),
    _text("text"),
    _maybe("model", Text()),
    _maybe("boot", Text()),
    Column("detail", Text, nullable=False, server_default="{}"),
    _text("digest"),  # the same event comes again when its acknowledgement is lost
    UniqueConstraint("device_id", "ts_ms", "digest", name="events_once"),
    Index("events_arrived", "arrived_ms"),
    sqlite_autoincrement=True,
)

COUNTERS = Table(
    "counters",
    METADATA,
    _text("source"),
    _text("name"),
    _whole("value"),
    PrimaryKeyConstraint("source", "name"),
)

ROLLOUTS = Table(
    "rollouts",
    METADATA,
    Column("id", Text, primary_key=True),
    _whole("rev"),  # grows with every change: who has read an older one may not write
    _text("model"),
    _text("version"),
    _text("filter"),
    _text("plan"),  # JSON
    _text("status"),
    _text("reason"),
    _text("step"),
    _whole("wave"),
    _whole("since_ms"),
    _maybe("deadline_ms"),
    _whole("created_ms"),
    _text("created_by"),
    _maybe("ended_ms"),
    _text("findings"),  # JSON: what the gates said last
)

ROLLOUT_JOBS = Table(
    "rollout_jobs",
    METADATA,
    _text("rollout"),
    _text("site"),
    _text("device"),
    _whole("wave"),
    _whole("position"),
    _text("status"),
    _text("reason"),
    _whole("since_ms"),
    _maybe("deadline_ms"),
    _maybe("told_ms"),
    _maybe("committed_ms"),
    _whole("v"),
    _whole("tries"),
    _maybe("before", Text()),  # JSON: the release it served, NULL where none
    PrimaryKeyConstraint("rollout", "site", "device"),
)

ROLLOUT_HOLDS = Table(
    "rollout_holds", METADATA, _text("site"), _text("device"), _text("rollout"), PrimaryKeyConstraint("site", "device")
)
"""Which rollout a device is in: of one at a time."""

DESIRED = Table(
    "desired",
    METADATA,
    _text("site"),
    _text("device"),
    _whole("v"),
    _whole("published_v"),  # what the broker has taken
    _text("models"),  # JSON: by name
    _text("conf"),  # JSON
    _text("rollout"),
    Column("lease_s", Double, nullable=False),  # 0 for none
    _whole("changed_ms"),
    PrimaryKeyConstraint("site", "device"),
)

AUDIT = Table(
    "audit",
    METADATA,
    _number(),
    _whole("at_ms"),
    _text("who"),
    _text("action"),
    _text("subject"),
    _text("detail"),  # JSON
    _text("digest"),  # of this entry and the digest of the one before
    Index("audit_subject", "subject", "id"),
    sqlite_autoincrement=True,
)

USERS = Table(
    "users",
    METADATA,
    Column("name", Text, primary_key=True),
    _text("password"),  # its hash
    _text("role"),
    _whole("created_ms"),
    _maybe("login_ms"),
)

SESSIONS = Table(
    "sessions",
    METADATA,
    Column("id", Text, primary_key=True),  # the hash of what the cookie has
    _text("kind"),
    _text("subject"),
    _whole("created_ms"),
    _whole("seen_ms"),
    _whole("expires_ms"),
    _text("address"),
    Index("sessions_subject", "kind", "subject"),
)

TOKENS = Table(
    "tokens",
    METADATA,
    Column("id", Text, primary_key=True),
    _text("digest"),  # the hash of the secret, which is nowhere
    _text("name"),
    _text("role"),
    _whole("created_ms"),
    _text("created_by"),
    _maybe("expires_ms"),
    _maybe("used_ms"),
    Column("scope", Text),  # a filter; null is all devices
    UniqueConstraint("digest", name="tokens_digest"),
)

COMMANDS = Table(
    "commands",
    METADATA,
    Column("id", Text, primary_key=True),
    _text("site"),
    _text("device"),
    _text("op"),
    _text("args"),  # JSON
    _text("who"),
    _whole("created_ms"),
    _whole("expires_ms"),
    _text("status"),
    _maybe("progress", Double()),
    _maybe("reason", Text()),
    _maybe("text", Text()),
    _maybe("result", Text()),  # JSON
    _maybe("answered_ms"),
    Index("commands_created", "created_ms"),
)

TOTALS = Table(
    "totals",
    METADATA,
    _text("site"),
    _text("hardware"),
    _text("model"),
    _text("version"),
    _text("device"),  # empty where devices are not told apart
    _whole("first_ms"),
    _whole("last_ms"),
    _whole("reports"),
    Column("window_s", Double, nullable=False),
    _whole("inferences"),
    _whole("errors"),
    _whole("dropped"),
    *_stages(),
    _maybe("gauges", Text()),  # JSON: the newest minute, and the figures of it and of the one before
    PrimaryKeyConstraint("site", "hardware", "model", "version", "device"),
)
"""Everything reported since the beginning, by group: grows only, whatever becomes of the reports."""

MARKS = Table("marks", METADATA, Column("name", Text, primary_key=True), _text("value"))
"""Where a reader of the store has come to (JSON)."""

APPLIED = Table("migrations", METADATA, Column("name", Text, primary_key=True), _whole("applied_ms"))
