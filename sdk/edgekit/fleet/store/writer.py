"""The hot path: a batch of reports becomes rows, watermarks and acknowledgements in one transaction."""

import contextlib
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection, Engine

from edgekit.fleet.store import bulk
from edgekit.fleet.store.base import Ack, Arrived, DeviceKey, Outcome
from edgekit.fleet.store.counters import add_counts
from edgekit.fleet.store.engine import Turn, writing
from edgekit.fleet.store.known import BootKey, Known, KnownBoot, KnownDevice, VariantKey
from edgekit.fleet.store.packing import pack_wire
from edgekit.fleet.store.tables import DEVICE_MODELS, GAUGES, REPORTS, STAGES
from edgekit.fleet.wire import Histogram, Report, document

DEVICE_LIMIT = 200_000
MOST = 2**40  # of anything in one report: more is made up, and would spoil sums
BOOT_LIMIT, NAMES_LIMIT = 128, 600  # characters

COLUMNS = (
    *("device_id", "boot_id", "seq", "variant_id", "at_ms", "ts_ms", "arrived_ms", "history", "window_s"),
    *("inferences", "errors", "dropped", *STAGES, *GAUGES, "error_kinds", "statistics"),
)
_UPDATE_BOOTS = "UPDATE boots SET watermark=?, above=?, clock_ms=?, live_ms=?, last_ms=? WHERE id=?"
_UPDATE_BOOTS_PG = """\
UPDATE boots SET watermark=new.w, above=new.a, clock_ms=new.c, live_ms=new.l, last_ms=new.t
FROM unnest(%s::bigint[], %s::text[], %s::bigint[], %s::bigint[], %s::bigint[], %s::bigint[]) AS new(w, a, c, l, t, id)
WHERE boots.id = new.id"""


class Writer:
    """Adds reports; one a process, used by one thread at a time."""

    def __init__(self, engine: Engine, device_limit: int = DEVICE_LIMIT) -> None:
        """Write to the database, for so many devices at most."""
        self._engine, self._limit = engine, device_limit
        self._known = Known()

    def add(self, batch: Sequence[Arrived], source: str, counted: Mapping[str, int]) -> Outcome:
        """Store what is new of a batch; when this returns it is committed.

        Args:
            batch: reports in the order they came.
            source: who counts.
            counted: what to add to the source's counters in the same transaction, beside stored, duplicate, refused.
        """
        try:
            with writing(self._engine, Turn.REPORTS) as connection:
                self._known.check(connection)
                outcome = self._add(connection, batch)
                told = {"stored": outcome.stored, "duplicate": outcome.duplicates, "rejected": outcome.refused}
                add_counts(connection, source, {**told, **{key: told.get(key, 0) + n for key, n in counted.items()}})
        except BaseException:
            self._known.forget()
            raise
        return outcome

    def _add(self, connection: Connection, batch: Sequence[Arrived]) -> Outcome:
        if not batch:
            return Outcome()
        known, now_ms = self._known, max(one.arrived_ms for one in batch)
        total = len(batch)
        batch = [one for one in batch if _fits(one.report)]
        variants = [_variant(one.report) for one in batch]
        known.find_devices(connection, [DeviceKey(one.site, one.device) for one in batch], now_ms, self._limit)
        known.find_variants(connection, variants)
        devices = [known.devices.get((one.site, one.device)) for one in batch]  # type: ignore[call-overload]  # a tuple
        keys = [(d.id, one.report.boot) for d, one in zip(devices, batch, strict=True) if d is not None]
        known.find_boots(connection, keys, now_ms)
        rows: list[bulk.Row] = []
        touched: dict[BootKey, tuple[Arrived, KnownBoot]] = {}
        refused, serving = total - len(batch), {}
        for one, device, variant in zip(batch, devices, variants, strict=True):
            if device is None:
                refused += 1
                continue
            report, number = one.report, known.variants[variant]
            boot = known.boots[device.id, report.boot]
            if report.history and report.lowest is not None:
                boot.mark.raise_below(min(report.lowest, report.seq))
            new = report.seq not in boot.mark
            if new and boot.mark.full_for(report.seq):
                refused += 1
                continue
            touched[device.id, report.boot] = (one, boot)
            boot.last_ms = max(boot.last_ms, one.arrived_ms)
            if not new:
                continue
            boot.mark.add(report.seq)
            rows.append(_row(one, device, boot, number))
            if not report.history and _serves(device, number, one):
                serving[device.id, report.model] = one
        bulk.insert(connection, REPORTS, COLUMNS, rows)
        _keep_boots(connection, [boot for _, boot in touched.values()])
        _keep_models(connection, serving)
        acks = tuple(
            Ack(one.site, one.device, one.report.boot, boot.mark.seq) for one, boot in touched.values() if boot.mark.seq
        )
        return Outcome(acks=acks, stored=len(rows), duplicates=total - len(rows) - refused, refused=refused)


def _fits(report: Report) -> bool:
    """Whether names are short enough for an index; real ones are."""
    names = (report.model, report.version, report.artifact, report.runtime, *report.executed_on[:NAMES_LIMIT])
    return len(report.boot) <= BOOT_LIMIT and sum(map(len, names)) <= NAMES_LIMIT


def _variant(report: Report) -> VariantKey:
    processors = report.executed_on
    text = '["CPU"]' if processors == ("CPU",) else document(processors)
    return report.model, report.version, report.artifact, report.runtime, text


def _serves(device: KnownDevice, variant: int, one: Arrived) -> bool:
    """Note what a live report says the device serves; whether that is new."""
    before = device.serves.get(one.report.model)
    device.serves[one.report.model] = (variant, one.arrived_ms)
    return before is None or before[0] != variant


def _row(one: Arrived, device: KnownDevice, boot: KnownBoot, variant: int) -> bulk.Row:
    report = one.report
    if report.history:
        at_ms = boot.clock.late(report.ts_ms, one.arrived_ms, device.add_ms)
    else:
        at_ms = boot.clock.live(report.ts_ms, one.arrived_ms)
        device.add_ms = boot.clock.add_ms
    latency, errors = report.latency, report.errors
    return (
        device.id,
        boot.id,
        report.seq,
        variant,
        at_ms,
        report.ts_ms,
        one.arrived_ms,
        1 if report.history else 0,
        report.window_s,
        _bounded(report.inferences),
        _bounded(sum(errors.values())) if errors else 0,
        _bounded(report.dropped),
        _packed(latency.pre),
        _packed(latency.infer),
        _packed(latency.post),
        _packed(latency.e2e),
        None if latency.queue is None else _packed(latency.queue),
        report.cpu_percent,
        report.rss_bytes,
        report.temperature_c,
        report.throttled,
        report.frequency_mhz,
        report.power_w,
        report.queue,
        document(errors) if errors else None,
        bytes(report.statistics).decode() if len(report.statistics) > 2 else None,  # noqa: PLR2004  # more than `{}`
    )


def _bounded(value: int) -> int:
    return value if 0 <= value <= MOST else min(MOST, max(0, value))


def _packed(one: Histogram) -> bytes | None:
    counts = one.counts
    if not counts and not one.zeros:
        return None
    return pack_wire(one.scale, one.offset, counts, one.zeros, one.total, one.minimum or 0.0, one.maximum or 0.0)


def _keep_boots(connection: Connection, boots: Sequence[KnownBoot]) -> None:
    rows = [
        (boot.mark.seq, boot.mark.ranges, boot.clock.add_ms, boot.clock.live_ms, boot.last_ms, boot.id)
        for boot in boots
    ]
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        with contextlib.closing(connection.connection.cursor()) as cursor:
            cursor.execute(_UPDATE_BOOTS_PG, [list(column) for column in zip(*rows, strict=True)])
    else:
        bulk.execute_many(connection, _UPDATE_BOOTS, rows)


def _keep_models(connection: Connection, serving: Mapping[tuple[int, str], Arrived]) -> None:
    rows = [
        (number, model, one.report.version, one.report.artifact, one.report.runtime, one.arrived_ms)
        for (number, model), one in serving.items()
    ]
    bulk.replace(connection, DEVICE_MODELS, [column.name for column in DEVICE_MODELS.columns], rows)
