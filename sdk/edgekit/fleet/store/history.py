"""All rows of a time one after another, for who takes them elsewhere: memory is that of a part, not of the answer."""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, Select, Table, select, tuple_

from edgekit.errors import UsageError
from edgekit.fleet.store.base import DeviceKey, DeviceRow
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.packing import unpack
from edgekit.fleet.store.rollups import HOUR_MS, MINUTE_MS
from edgekit.fleet.store.series import hardware_name
from edgekit.fleet.store.tables import GAUGES, HOURS, MINUTES, REPORTS, STAGES, VARIANTS
from edgekit_agent.protocol import ExpHistogram

CHUNK = 1_000
DETAILS = ("report", "minute", "hour")
_UNITS: Mapping[str, tuple[Table, int]] = {"minute": (MINUTES, MINUTE_MS), "hour": (HOURS, HOUR_MS)}


@dataclass(frozen=True, slots=True, kw_only=True)
class Extract:
    """Which rows: of a time (by the end of a report's window, on the host's clock), devices, model and version."""

    from_ms: int
    to_ms: int
    detail: str = "minute"
    wanted: Callable[[DeviceRow], bool] | None = None
    model: str | None = None
    version: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryRow:
    """A report, or all of a device and variant in a minute or hour; `gauges` are count, sum, least, most."""

    at_ms: int
    key: DeviceKey
    hardware: str
    model: str
    version: str
    artifact: str
    runtime: str
    reports: int
    window_s: float
    inferences: int
    errors: int
    dropped: int
    latency: Mapping[str, ExpHistogram]
    gauges: Mapping[str, Sequence[float]]


class History:
    """Reads rows in the order of time."""

    def __init__(self, engine: Engine, devices: Callable[[], Sequence[DeviceRow]]) -> None:
        """Use the database, and who knows the devices."""
        self._engine, self._devices = engine, devices

    def rows(self, wanted: Extract) -> Iterator[HistoryRow]:
        """Yield the rows. Minutes and hours are those rolled up: the newest of them may still grow.

        Raises:
            UsageError: if the detail is none, or the end is not after the beginning.
        """
        if wanted.detail not in DETAILS:
            raise UsageError(f"there is no detail '{wanted.detail}'; there are: {', '.join(DETAILS)}")
        if wanted.to_ms <= wanted.from_ms:
            raise UsageError("the end of the time is not after its beginning")
        names = {
            row.id: (row.key, hardware_name(dict(row.hardware)))
            for row in self._devices()
            if wanted.wanted is None or wanted.wanted(row)
        }
        variants = self._variants(wanted)
        for row in self._all(wanted):
            if row.device_id in names and row.variant_id in variants:
                key, hardware = names[row.device_id]
                yield _row(row, key, hardware, variants[row.variant_id])

    def _variants(self, wanted: Extract) -> dict[int, Row[Any]]:
        query = select(VARIANTS)
        if wanted.model is not None:
            query = query.where(VARIANTS.c.model == wanted.model)
        if wanted.version is not None:
            query = query.where(VARIANTS.c.version == wanted.version)
        with reading(self._engine) as connection:
            return {row.id: row for row in connection.execute(query)}

    def _all(self, wanted: Extract) -> Iterator[Row[Any]]:
        """Yield rows part by part, each in a transaction of its own: nothing is held while the reader writes."""
        query, order = _query(wanted)
        last: Row[Any] | None = None
        while True:
            part = query if last is None else query.where(tuple_(*order) > tuple(last._mapping[c.name] for c in order))  # noqa: SLF001  # public name
            with reading(self._engine) as connection:
                rows = connection.execute(part.order_by(*order).limit(CHUNK)).all()
            yield from rows
            if len(rows) < CHUNK:
                return
            last = rows[-1]


def _query(wanted: Extract) -> tuple[Select[Any], tuple[Any, ...]]:
    if wanted.detail == "report":
        columns = [column for column in REPORTS.columns if column.name not in {"error_kinds", "statistics"}]
        time = (REPORTS.c.at_ms >= wanted.from_ms) & (REPORTS.c.at_ms < wanted.to_ms)
        return select(*columns).where(time), (REPORTS.c.id,)
    table, unit = _UNITS[wanted.detail]
    begin = wanted.from_ms - wanted.from_ms % unit
    query = select(table).where(table.c.start_ms >= begin, table.c.start_ms < wanted.to_ms)
    return query, (table.c.start_ms, table.c.device_id, table.c.variant_id)


def _row(row: Row[Any], key: DeviceKey, hardware: str, variant: Row[Any]) -> HistoryRow:
    raw = hasattr(row, "at_ms")
    gauges: dict[str, Sequence[float]]
    if raw:
        told = {name: getattr(row, name) for name in GAUGES}
        gauges = {name: (1, value, value, value) for name, value in told.items() if value is not None}
    else:
        gauges = json.loads(row.gauges) if row.gauges else {}
    return HistoryRow(
        at_ms=row.at_ms if raw else row.start_ms,
        key=key,
        hardware=hardware,
        model=variant.model,
        version=variant.version,
        artifact=variant.artifact,
        runtime=variant.runtime,
        reports=1 if raw else row.reports,
        window_s=row.window_s,
        inferences=row.inferences,
        errors=row.errors,
        dropped=row.dropped,
        latency={name: unpack(blob) for name in STAGES if (blob := getattr(row, name)) is not None},
        gauges=gauges,
    )
