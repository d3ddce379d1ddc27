"""What a live view needs of the store, and no more: the newest report of each model, and what has changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Engine, Row, Select, func, select

from edgekit.fleet.store.bulk import chunks
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.packing import unpack
from edgekit.fleet.store.tables import DEVICE_MODELS, DEVICES, META, REPORTS, VARIANTS

# Of a device's newest reports so many are looked through for a model it serves.
LOOKED_THROUGH = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Newest:
    """The figures of one report; latency in milliseconds, None where nothing was measured."""

    id: int
    device_id: int
    model: str
    version: str
    at_ms: int
    arrived_ms: int
    p50_ms: float | None
    p90_ms: float | None
    p99_ms: float | None
    rate_hz: float | None
    errors: int
    temp: float | None
    cpu: float | None
    rss: float | None


class LiveReader:
    """Reads for live views."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def newest(self) -> list[Newest]:
        """Return the newest report of each model that a device serves."""
        inner = (
            select(REPORTS.c.id, REPORTS.c.variant_id, REPORTS.c.at_ms)
            .where(REPORTS.c.device_id == DEVICE_MODELS.c.device_id)
            .order_by(REPORTS.c.at_ms.desc())
            .limit(LOOKED_THROUGH)
            .correlate(DEVICE_MODELS)
            .subquery("recent")
        )
        of_model = VARIANTS.alias("of_model")
        number = (
            select(inner.c.id)
            .join(of_model, of_model.c.id == inner.c.variant_id)
            .where(of_model.c.model == DEVICE_MODELS.c.model)
            .order_by(inner.c.at_ms.desc())
            .limit(1)
            .correlate(DEVICE_MODELS)
            .scalar_subquery()
        )
        return self._rows(_columns(DEVICE_MODELS).where(REPORTS.c.id == number))

    def since(self, cursor: int, limit: int) -> list[Newest]:
        """Return the reports committed after one, oldest first."""
        return self._rows(_columns(REPORTS).where(REPORTS.c.id > cursor).order_by(REPORTS.c.id).limit(limit))

    def cursors(self) -> tuple[int, str]:
        """Return the number of the newest report, and a word that changes when devices were removed."""
        with reading(self._engine) as connection:
            newest = connection.scalar(select(func.max(REPORTS.c.id)))
            epoch = connection.scalar(select(META.c.value).where(META.c.key == "epoch"))
        return int(newest or 0), str(epoch)

    def presences(self) -> dict[int, tuple[Any, ...]]:
        """Return by each device's number what changes when it is heard of, apart from reports."""
        columns = (DEVICES.c.presence, DEVICES.c.presence_reason, DEVICES.c.presence_since_ms, DEVICES.c.last_seen_ms)
        with reading(self._engine) as connection:
            return {row[0]: tuple(row[1:]) for row in connection.execute(select(DEVICES.c.id, *columns))}

    def _rows(self, query: Select[Any]) -> list[Newest]:
        with reading(self._engine) as connection:
            return [_newest(row) for row in connection.execute(query)]


def with_numbers(numbers: Sequence[int]) -> list[Any]:
    """Return conditions that are true of devices by number, each of a size a database takes."""
    return [DEVICES.c.id.in_(part) for part in chunks(list(numbers))]


def _columns(first: Any) -> Select[Any]:  # noqa: ANN401  # a table
    of_report = ("id", "device_id", "at_ms", "arrived_ms", "window_s", "inferences", "errors", "infer", "e2e")
    gauges = ("temp", "cpu", "rss")
    query = select(*(REPORTS.c[name] for name in of_report + gauges), VARIANTS.c.model, VARIANTS.c.version).select_from(
        first
    )
    if first is not REPORTS:
        query = query.join(REPORTS, REPORTS.c.device_id == first.c.device_id)
    return query.join(VARIANTS, VARIANTS.c.id == REPORTS.c.variant_id)


def _newest(row: Row[Any]) -> Newest:
    histogram = unpack(row.infer if row.infer is not None else row.e2e)
    quantiles = [1000 * histogram.quantile(q) if histogram.count else None for q in (0.5, 0.9, 0.99)]
    return Newest(
        id=row.id, device_id=row.device_id, model=row.model, version=row.version, at_ms=row.at_ms,
        arrived_ms=row.arrived_ms, p50_ms=quantiles[0], p90_ms=quantiles[1], p99_ms=quantiles[2],
        rate_hz=row.inferences / row.window_s if row.window_s else None,
        errors=row.errors, temp=row.temp, cpu=row.cpu, rss=row.rss,
    )  # fmt: skip
