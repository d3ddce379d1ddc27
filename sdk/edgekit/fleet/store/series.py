"""Figures over time: reports of a group and a step of time added up, their histograms merged exactly."""

import json
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, Table, select

from edgekit.errors import UsageError
from edgekit.fleet.store.base import DeviceKey, Gauge, SeriesPoint
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.merging import merge
from edgekit.fleet.store.rollups import HOUR_MS, MINUTE_MS, rolled_up_to
from edgekit.fleet.store.sums import Sums, add_up
from edgekit.fleet.store.tables import DEVICES, HOURS, MINUTES, REPORTS, STAGES, VARIANTS

GROUPS = ("none", "device", "version", "hardware", "model")
POINT_LIMIT = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What to add up. Times are widened to whole minutes, or hours where the step is whole hours.

    `devices` None is all; `hardware` of a device is what its `info` names so (`board`, `model` or `arch`).
    """

    from_ms: int
    to_ms: int
    stage: str = "infer"
    step_s: int | None = None
    group: str = "none"
    devices: Collection[DeviceKey] | None = None
    model: str | None = None
    version: str | None = None

    @property
    def step_ms(self) -> int:
        """Milliseconds of a step; without one the whole time is one step."""
        return 1000 * self.step_s if self.step_s else max(MINUTE_MS, self.to_ms - self.from_ms)


class Series:
    """Answers questions out of roll-ups and what is not rolled up yet."""

    def __init__(self, engine: Engine) -> None:
        """Use the database."""
        self._engine = engine

    def points(self, question: Question) -> list[SeriesPoint]:
        """Return the points in the order of time and group.

        Raises:
            UsageError: if the stage, group or step is none, or there would be more than 100,000 steps.
        """
        _check(question)
        with reading(self._engine) as connection:
            devices = _devices(connection, question)
            variants = _variants(connection, question)
            adder = _Adder(question, devices, variants)
            hours = question.step_ms % HOUR_MS == 0 and question.from_ms % HOUR_MS == 0
            table, unit = (HOURS, HOUR_MS) if hours else (MINUTES, MINUTE_MS)
            done = rolled_up_to(connection)
            adder.add(*_rollups(connection, table, unit, question, devices))
            adder.add(*_rest(connection, done, unit, question, devices))
        return adder.points()

    def models(self) -> list[tuple[str, str, str]]:
        """Return model, version and artifact of all that was ever reported."""
        columns = (VARIANTS.c.model, VARIANTS.c.version, VARIANTS.c.artifact)
        with reading(self._engine) as connection:
            rows = connection.execute(select(*columns).distinct().order_by(*columns))
            return [(model, version, artifact) for model, version, artifact in rows]


class _Adder:
    def __init__(
        self, question: Question, devices: dict[int, tuple[str, str]], variants: dict[int, tuple[str, str]]
    ) -> None:
        self._question, self._devices, self._variants = question, devices, variants
        self._numbers: dict[tuple[int, str], int] = {}
        self._sums: list[Sums] = []
        self._blobs: list[bytes | None] = []
        self._groups: list[int] = []

    def add(self, names: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
        """Add rows, given with the names of their columns."""
        kept = [row for row in rows if row[1] in self._devices and row[2] in self._variants]
        if not kept:
            return
        columns = dict(zip(names, zip(*kept, strict=True), strict=True))
        step_ms, begin = self._question.step_ms, self._question.from_ms
        groups = []
        times, owners, made = (columns[name] for name in names[:3])
        for at_ms, device, variant in zip(times, owners, made, strict=True):
            start = begin + (max(at_ms, begin) - begin) // step_ms * step_ms
            groups.append(self._numbers.setdefault((start, self._name(device, variant)), len(self._numbers)))
        self._sums += [Sums() for _ in range(len(self._numbers) - len(self._sums))]
        for known, more in zip(self._sums, add_up(columns, groups, len(self._numbers)), strict=True):
            known.add(more)
        self._blobs += columns[self._question.stage]
        self._groups += groups

    def _name(self, device: int, variant: int) -> str:
        match self._question.group:
            case "device":
                return self._devices[device][0]
            case "hardware":
                return self._devices[device][1]
            case "version":
                return self._variants[variant][1]
            case "model":
                return self._variants[variant][0]
        return ""

    def points(self) -> list[SeriesPoint]:
        merged = merge(self._blobs, self._groups, len(self._numbers))
        step_s = self._question.step_ms // 1000
        found = []
        for (start, name), number in sorted(self._numbers.items()):
            sums = self._sums[number]
            gauges = {
                key: Gauge(count=int(values[0]), total=values[1], least=values[2], most=values[3])
                for key, values in sums.gauges.items()
            }
            found.append(
                SeriesPoint(
                    start_ms=start,
                    step_s=step_s,
                    group=name,
                    histogram=merged[number],
                    reports=sums.reports,
                    window_s=sums.window_s,
                    inferences=sums.inferences,
                    errors=sums.errors,
                    dropped=sums.dropped,
                    gauges=gauges,
                    error_kinds=sums.error_kinds,
                )
            )
        return found


def _check(question: Question) -> None:
    if question.stage not in STAGES:
        raise UsageError(f"there is no stage '{question.stage}'; there are: {', '.join(STAGES)}")
    if question.group not in GROUPS:
        raise UsageError(f"there is no group '{question.group}'; there are: {', '.join(GROUPS)}")
    if question.step_s is not None and (question.step_s < 1 or question.step_ms % MINUTE_MS):
        raise UsageError(f"a step of {question.step_s} s is not whole minutes")
    if question.to_ms <= question.from_ms:
        raise UsageError("the end of the time is not after its beginning")
    if (question.to_ms - question.from_ms) / question.step_ms > POINT_LIMIT:
        raise UsageError(f"there would be more than {POINT_LIMIT} steps: take a longer step")


def _devices(connection: Connection, question: Question) -> dict[int, tuple[str, str]]:
    """Return number -> name and hardware of the devices wanted."""
    wanted = None if question.devices is None else {tuple(key) for key in question.devices}
    devices = {}
    for row in connection.execute(select(DEVICES.c.id, DEVICES.c.site, DEVICES.c.device, DEVICES.c.hardware)):
        if wanted is None or (row.site, row.device) in wanted:
            hardware = hardware_name(json.loads(row.hardware)) if question.group == "hardware" else ""
            devices[row.id] = (f"{row.site}/{row.device}", hardware)
    return devices


def hardware_name(hardware: dict[str, object]) -> str:
    """Return what a device's hardware is called: its board or model, or else its architecture."""
    return next((str(hardware[key]) for key in ("board", "model", "arch") if hardware.get(key)), "unknown")


def _variants(connection: Connection, question: Question) -> dict[int, tuple[str, str]]:
    query = select(VARIANTS.c.id, VARIANTS.c.model, VARIANTS.c.version)
    if question.model is not None:
        query = query.where(VARIANTS.c.model == question.model)
    if question.version is not None:
        query = query.where(VARIANTS.c.version == question.version)
    return {row.id: (row.model, row.version) for row in connection.execute(query)}


_FEW = 2_000


def _narrowed(query: Select[Any], column: Any, devices: dict[int, tuple[str, str]], wanted: Question) -> Select[Any]:  # noqa: ANN401  # a column
    """Leave it to the database where few devices are asked for."""
    return query.where(column.in_(list(devices))) if wanted.devices is not None and len(devices) <= _FEW else query


def _rollups(
    connection: Connection, table: Table, unit: int, question: Question, devices: dict[int, tuple[str, str]]
) -> tuple[list[str], Sequence[Row[Any]]]:
    """Return rows of a roll-up, time, device and variant first, with the names of the columns."""
    begin, end = question.from_ms - question.from_ms % unit, question.to_ms
    columns = [one for one in table.columns if one.name not in STAGES or one.name == question.stage]
    query = select(*columns).where(table.c.start_ms >= begin, table.c.start_ms < end)
    rows = connection.execute(_narrowed(query, table.c.device_id, devices, question)).all()
    return [one.name for one in columns], rows


def _rest(
    connection: Connection, done: int, unit: int, question: Question, devices: dict[int, tuple[str, str]]
) -> tuple[list[str], Sequence[Row[Any]]]:
    """Return the reports that are in no roll-up yet, in the same way."""
    begin, end = question.from_ms - question.from_ms % unit, question.to_ms + (-question.to_ms) % unit
    first = [REPORTS.c.at_ms, REPORTS.c.device_id, REPORTS.c.variant_id]
    left_out = {"id", "boot_id", "seq", "ts_ms", "arrived_ms", "history", "statistics", *STAGES} - {question.stage}
    rest = [one for one in REPORTS.columns if one.name not in {*left_out, *(known.name for known in first)}]
    query = select(*first, *rest).where(REPORTS.c.id > done, REPORTS.c.at_ms >= begin, REPORTS.c.at_ms < end)
    rows = connection.execute(_narrowed(query, REPORTS.c.device_id, devices, question)).all()
    return [one.name for one in (*first, *rest)], rows
