"""The tables of alerts, as they are after all migrations."""

from sqlalchemy import Column, Double, Index, PrimaryKeyConstraint, Table, Text

from edgekit.fleet.store.tables import METADATA, _maybe, _number, _text, _whole

ALERT_RULES = Table(
    "alert_rules",
    METADATA,
    Column("name", Text, primary_key=True),
    _text("body"),  # JSON
    _text("source"),  # `file` or who wrote it
    _whole("changed_ms"),
)

ALERTS = Table(
    "alerts",
    METADATA,
    _text("rule"),
    _text("grp"),
    _text("phase"),
    _whole("since_ms"),
    _whole("seen_ms"),
    Column("value", Double, nullable=False),
    Column("worst", Double, nullable=False),
    _maybe("fired_ms"),
    _maybe("calm_ms"),
    _whole("told"),
    _maybe("acked_ms"),
    _maybe("acked_by", Text()),
    PrimaryKeyConstraint("rule", "grp"),
)
"""What is pending or firing."""

ALERT_HISTORY = Table(
    "alert_history",
    METADATA,
    _number(),
    _text("rule"),
    _text("grp"),
    _text("kind"),
    _whole("at_ms"),
    Column("value", Double, nullable=False),
    Column("worst", Double, nullable=False),
    _text("reason"),
    Index("alert_history_at", "at_ms"),
    sqlite_autoincrement=True,
)

ALERT_SILENCES = Table(
    "alert_silences",
    METADATA,
    _number(),
    _text("rule"),
    _text("grp"),
    _whole("until_ms"),
    _text("made_by"),
    _text("comment"),
    _whole("created_ms"),
    sqlite_autoincrement=True,
)

ALERT_NOTIFIERS = Table("alert_notifiers", METADATA, Column("name", Text, primary_key=True), _text("kind"))
"""The names that rules may use; where they lead to is in the service's file only."""

ALERT_MESSAGES = Table(
    "alert_messages",
    METADATA,
    _number(),
    _text("notifier"),
    _text("rule"),
    _text("kind"),
    _text("body"),  # JSON
    _text("state"),  # waiting, sent, given-up
    _whole("created_ms"),
    _whole("due_ms"),
    _whole("tries"),
    _text("problem"),
    Index("alert_messages_due", "state", "due_ms"),
    sqlite_autoincrement=True,
)
"""What is to be told, stored with the change that it tells of: a restart neither forgets nor repeats it."""
