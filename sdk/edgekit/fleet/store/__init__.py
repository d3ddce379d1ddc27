"""The store of a fleet: SQLite by default, PostgreSQL by URL, one schema.

```python
from edgekit.fleet.store import open_store

with open_store("sqlite:///fleet/fleet.db") as store:
    for device in store.devices.all():
        print(device.key, device.presence, device.last_report_ms)
```

It is where the parts of the service meet: everything between them goes through its tables. New tables are a module
with a migration and one line in `Store`.
"""

from types import TracebackType
from typing import Self

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError

from edgekit.fleet.store.alerts import Alerts
from edgekit.fleet.store.audit import Audit
from edgekit.fleet.store.base import (
    Ack,
    Arrived,
    DeviceKey,
    DeviceRow,
    EventRow,
    Gauge,
    Heard,
    Outcome,
    ReportRow,
    SeriesPoint,
    ServedModel,
)
from edgekit.fleet.store.commands import Commands
from edgekit.fleet.store.counters import Counters
from edgekit.fleet.store.desired import DesiredStates
from edgekit.fleet.store.devices import Devices
from edgekit.fleet.store.engine import Turn, connect, unreachable, writing
from edgekit.fleet.store.events import Events
from edgekit.fleet.store.history import History
from edgekit.fleet.store.marks import Marks
from edgekit.fleet.store.migrations import migrate
from edgekit.fleet.store.presence import PresenceRows
from edgekit.fleet.store.reports import Reports
from edgekit.fleet.store.retention import Keep, Retention
from edgekit.fleet.store.rollouts import Rollouts
from edgekit.fleet.store.rollups import Rollups
from edgekit.fleet.store.series import Question, Series, hardware_name
from edgekit.fleet.store.totals import Totals
from edgekit.fleet.store.users import Accounts
from edgekit.fleet.store.writer import DEVICE_LIMIT

__all__ = [
    "Ack",
    "Arrived",
    "DeviceKey",
    "DeviceRow",
    "EventRow",
    "Gauge",
    "Heard",
    "Keep",
    "Outcome",
    "Question",
    "ReportRow",
    "SeriesPoint",
    "ServedModel",
    "Store",
    "hardware_name",
    "open_store",
]


class Store:
    """The tables, by what they are about; may be used by many threads but for `reports.add`."""

    def __init__(self, engine: Engine, *, device_limit: int = DEVICE_LIMIT) -> None:
        """Use a database whose tables are made: see `open_store`."""
        self.engine = engine
        self.devices = Devices(engine, device_limit)
        self.reports = Reports(engine, device_limit)
        self.events = Events(engine, device_limit)
        self.series = Series(engine)
        self.rollups = Rollups(engine)
        self.counters = Counters(engine)
        self.alerts = Alerts(engine)
        self.desired = DesiredStates(engine)
        self.rollouts = Rollouts(engine)
        self.audit = Audit(engine)
        self.accounts = Accounts(engine)
        self.retention = Retention(engine)
        self.presence = PresenceRows(engine)
        self.commands = Commands(engine)
        self.totals = Totals(engine)
        self.marks = Marks(engine)
        self.history = History(engine, lambda: self.devices.all(device_limit))
        self.devices.when_forgotten(self.totals.forget)
        self.devices.when_forgotten(self.desired.forget)

    def __enter__(self) -> Self:
        """Use it in a block."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close it."""
        self.close()

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()


def open_store(url: str, *, device_limit: int = DEVICE_LIMIT) -> Store:
    """Open a store and bring its tables up to date; several processes may do so at once.

    Args:
        url: `sqlite:///PATH` or `postgresql://[user[:password]@]host[:port]/database`.
        device_limit: how many devices it takes: a broker may be open to strangers.

    Raises:
        UsageError: if the URL is of no form that is known.
        EnvironmentMissingError: if the file cannot be made or written here.
        DeviceError: if the database server does not answer or refuses.
        DataError: if a newer version of EdgeKit has used it.
    """
    engine = connect(url)
    try:
        with writing(engine, *Turn) as connection:
            migrate(connection)
    except DBAPIError as exc:  # its first page can be read, and more not
        engine.dispose()
        raise unreachable(url, exc) from exc
    except BaseException:
        engine.dispose()
        raise
    return Store(engine, device_limit=device_limit)
