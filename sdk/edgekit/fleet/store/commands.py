"""Commands: what was asked of devices, and what they answered."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from sqlalchemy import Engine, RowMapping, delete, insert, select, update

from edgekit.fleet.store.base import DeviceKey
from edgekit.fleet.store.engine import reading, writing
from edgekit.fleet.store.tables import COMMANDS
from edgekit.fleet.wire import Result, document

LATE_MS = 5_000
"""An answer may be under way for so long when a command's time is over."""
KEPT_MS = 7 * 86_400_000
OPEN = ("sent", "running")


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRow:
    """A command: `sent`, `running`, `done`, `failed`, `refused`, or `expired` where no answer came in its time."""

    id: str
    site: str
    device: str
    op: str
    who: str
    created_ms: int
    expires_ms: int
    args: Mapping[str, object] = field(default_factory=dict)
    status: str = "sent"
    progress: float | None = None
    reason: str | None = None
    text: str | None = None
    result: Mapping[str, object] = field(default_factory=dict)
    answered_ms: int | None = None

    @property
    def key(self) -> DeviceKey:
        """The device it is for."""
        return DeviceKey(self.site, self.device)


class Commands:
    """Adds commands and their answers, and reads them."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def add(self, row: CommandRow) -> None:
        """Keep a command before it is sent; those a week old go."""
        args = json.dumps(row.args, separators=(",", ":"))
        with writing(self._engine) as connection:
            connection.execute(delete(COMMANDS).where(COMMANDS.c.created_ms < row.created_ms - KEPT_MS))
            connection.execute(
                insert(COMMANDS).values(
                    id=row.id,
                    site=row.site,
                    device=row.device,
                    op=row.op,
                    args=args,
                    who=row.who,
                    created_ms=row.created_ms,
                    expires_ms=row.expires_ms,
                    status=row.status,
                )
            )

    def answered(self, number: str, key: DeviceKey, result: Result, now_ms: int) -> bool:
        """Take in an answer of the device that was asked; return whether it was: what has ended stays as it is."""
        mine = (COMMANDS.c.id == number) & (COMMANDS.c.site == key.site) & (COMMANDS.c.device == key.device)
        values = {
            "status": result.status,
            "progress": result.progress,
            "reason": result.reason,
            "text": result.text,
            "result": document(result.result),
            "answered_ms": now_ms,
        }
        with writing(self._engine) as connection:
            done = connection.execute(update(COMMANDS).where(mine, COMMANDS.c.status.in_(OPEN)).values(**values))
            return bool(done.rowcount)

    def get(self, number: str, key: DeviceKey, now_ms: int) -> CommandRow | None:
        """Return a command as it stands."""
        mine = (COMMANDS.c.id == number) & (COMMANDS.c.site == key.site) & (COMMANDS.c.device == key.device)
        with reading(self._engine) as connection:
            row = connection.execute(select(COMMANDS).where(mine)).mappings().first()
        return None if row is None else _row(row, now_ms)


def _row(row: RowMapping, now_ms: int) -> CommandRow:
    values = {**row, "args": json.loads(row["args"]), "result": json.loads(row["result"] or "{}")}
    if row["status"] in OPEN and now_ms > row["expires_ms"] + LATE_MS:
        values |= {"status": "expired", "text": "the device did not answer in time"}
    return CommandRow(**values)
