"""Figures over time: reports of a group and a step of time added up, their histograms merged exactly."""

import json
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Engine, Row, Select, Table, select

from edgekit.errors import UsageError
from edgekit.fleet.store.base import DeviceKey, Gauge, SeriesPoint
from edgekit.fleet.store.engine import reading
from edgekit.fleet.store.merging import merge
from edgekit.fleet.store.rollups import HOUR_MS, MINUTE_MS, Sums, rolled_up_to
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
        with reading(self._engine) as connection, connection.begin():
            devices = _devices(connection, question)
            variants = _variants(connection, question)
            adder = _Adder(question, devices, variants)
            hours = question.step_ms % HOUR_MS == 0 and question.from_ms % HOUR_MS == 0
            table, unit = (HOURS, HOUR_MS) if hours else (MINUTES, MINUTE_MS)
            done = rolled_up_to(connection)
            for row in _rollups(connection, table, unit, question, devices):
                adder.add(row, row.start_ms, Sums.add_rollup)
            for row in _rest(connection, done, unit, question, devices):
                adder.add(row, row.at_ms - row.at_ms % unit, Sums.add_report)
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

    def add(self, row: Row[Any], start_ms: int, adding: Callable[[Sums, Row[Any]], None]) -> None:
        if row.device_id not in self._devices or row.variant_id not in self._variants:
            return
        step_ms, begin = self._question.step_ms, self._question.from_ms
        start = begin + (max(start_ms, begin) - begin) // step_ms * step_ms
        key = (start, self._name(row))
        number = self._numbers.setdefault(key, len(self._numbers))
        if number == len(self._sums):
            self._sums.append(Sums())
        adding(self._sums[number], row)
        self._blobs.append(getattr(row, self._question.stage))
        self._groups.append(number)

    def _name(self, row: Row[Any]) -> str:
        match self._question.group:
            case "device":
                return self._devices[row.device_id][0]
            case "hardware":
                return self._devices[row.device_id][1]
            case "version":
                return self._variants[row.variant_id][1]
            case "model":
                return self._variants[row.variant_id][0]
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
) -> Iterable[Row[Any]]:
    begin, end = question.from_ms - question.from_ms % unit, question.to_ms
    columns = [one for one in table.columns if one.name not in STAGES or one.name == question.stage]
    query = select(*columns).where(table.c.start_ms >= begin, table.c.start_ms < end)
    return connection.execute(_narrowed(query, table.c.device_id, devices, question))


def _rest(
    connection: Connection, done: int, unit: int, question: Question, devices: dict[int, tuple[str, str]]
) -> Iterable[Row[Any]]:
    begin, end = question.from_ms - question.from_ms % unit, question.to_ms + (-question.to_ms) % unit
    left_out = {*STAGES, "statistics"} - {question.stage}
    query = select(*(one for one in REPORTS.columns if one.name not in left_out)).where(
        REPORTS.c.id > done, REPORTS.c.at_ms >= begin, REPORTS.c.at_ms < end
    )
    return connection.execute(_narrowed(query, REPORTS.c.device_id, devices, question))
