"""Reports: added in batches, read in the order they were committed."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Engine, Row, Select, func, select

from edgekit.fleet.store.base import Arrived, DeviceKey, Outcome, ReportRow
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.packing import unpack
from edgekit.fleet.store.tables import BOOTS, DEVICES, GAUGES, REPORTS, STAGES, VARIANTS
from edgekit.fleet.store.writer import Writer

LIMIT = 10_000


class Reports:
    """Adds and reads reports."""

    def __init__(self, engine: Engine, device_limit: int) -> None:
        """Use the database, for so many devices at most."""
        self._engine = engine
        self._writer = Writer(engine, device_limit)

    def add(
        self, batch: Sequence[Arrived], *, source: str = "ingest", counted: Mapping[str, int] | None = None
    ) -> Outcome:
        """Store what is new of a batch, at once or not at all; when this returns it is committed.

        One thread at a time. `counted` is added to the counters of `source` in the same transaction, beside `stored`,
        `duplicate` and what was refused (as `rejected`).
        """
        return self._writer.add(batch, source, counted or {})

    def cursor(self) -> int:
        """Return the number of the newest report, 0 when there is none: where `since` begins for what comes now."""
        with reading(self._engine) as connection:
            return int(connection.scalar(select(func.max(REPORTS.c.id))) or 0)

    def since(self, cursor: int, limit: int = LIMIT) -> list[ReportRow]:
        """Return the reports committed after one, oldest first; the last one's `id` is the next cursor."""
        return self._rows(_query().where(REPORTS.c.id > cursor).order_by(REPORTS.c.id).limit(limit))

    def of_device(self, key: DeviceKey, from_ms: int, to_ms: int, limit: int = LIMIT) -> list[ReportRow]:
        """Return a device's reports of a time, oldest first; when there are more than the limit, the newest."""
        query = _query().where(DEVICES.c.site == key.site, DEVICES.c.device == key.device)
        query = query.where(REPORTS.c.at_ms >= from_ms, REPORTS.c.at_ms < to_ms)
        return self._rows(query.order_by(REPORTS.c.at_ms.desc(), REPORTS.c.id.desc()).limit(limit))[::-1]

    def _rows(self, query: Select[Any]) -> list[ReportRow]:
        with reading(self._engine) as connection:
            return [_row(row) for row in connection.execute(query)]


def _query() -> Select[Any]:
    names = (DEVICES.c.site, DEVICES.c.device, BOOTS.c.boot)
    variant = (VARIANTS.c.model, VARIANTS.c.version, VARIANTS.c.artifact, VARIANTS.c.runtime)
    return (
        select(REPORTS, *names, *variant)
        .join(DEVICES, DEVICES.c.id == REPORTS.c.device_id)
        .join(BOOTS, BOOTS.c.id == REPORTS.c.boot_id)
        .join(VARIANTS, VARIANTS.c.id == REPORTS.c.variant_id)
    )


def _row(row: Row[Any]) -> ReportRow:
    return ReportRow(
        id=row.id,
        site=row.site,
        device=row.device,
        boot=row.boot,
        seq=row.seq,
        model=row.model,
        version=row.version,
        artifact=row.artifact,
        runtime=row.runtime,
        at_ms=row.at_ms,
        ts_ms=row.ts_ms,
        arrived_ms=row.arrived_ms,
        history=bool(row.history),
        window_s=row.window_s,
        inferences=row.inferences,
        errors=row.errors,
        dropped=row.dropped,
        latency={name: unpack(blob) for name in STAGES if (blob := getattr(row, name)) is not None},
        gauges={name: value for name in GAUGES if (value := getattr(row, name)) is not None},
        error_kinds=json.loads(row.error_kinds) if row.error_kinds else {},
        statistics=json.loads(row.statistics) if row.statistics else {},
    )
