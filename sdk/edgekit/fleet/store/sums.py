"""What is added up beside histograms: of a row at a time, or of many rows by column."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np
import numpy.typing as npt
from sqlalchemy import Row

from edgekit.fleet.store.tables import GAUGES

_GAUGES = msgspec.json.Decoder(dict[str, list[float]])
_KINDS = msgspec.json.Decoder(dict[str, int])


@dataclass(slots=True)
class Sums:
    """Reports added up; a gauge is count, sum, least and most."""

    reports: int = 0
    window_s: float = 0.0
    inferences: int = 0
    errors: int = 0
    dropped: int = 0
    gauges: dict[str, list[float]] = field(default_factory=dict)
    error_kinds: dict[str, int] = field(default_factory=dict)

    def add(self, other: "Sums") -> None:
        """Add other sums, which stay as they are."""
        self._add(other.reports, other)
        for name, count in other.error_kinds.items():
            self.error_kinds[name] = self.error_kinds.get(name, 0) + count
        for name, values in other.gauges.items():
            self.add_gauge(name, values)

    def add_rollup(self, row: Row[Any]) -> None:
        """Add a row of a roll-up."""
        self._add(row.reports, row)
        self.add_kinds(row.error_kinds)
        if row.gauges:
            for name, values in _GAUGES.decode(row.gauges).items():
                self.add_gauge(name, values)

    def _add(self, reports: int, row: "Row[Any] | Sums") -> None:
        self.reports += reports
        self.window_s += row.window_s
        self.inferences += row.inferences
        self.errors += row.errors
        self.dropped += row.dropped

    def add_kinds(self, text: str | None) -> None:
        """Add counts by kind of error, as JSON."""
        if text:
            for name, count in _KINDS.decode(text).items():
                self.error_kinds[name] = self.error_kinds.get(name, 0) + count

    def add_gauge(self, name: str, values: Sequence[float]) -> None:
        """Add count, sum, least and most of a gauge."""
        known = self.gauges.get(name)
        if known is None:
            self.gauges[name] = list(values)
            return
        known[0] += values[0]
        known[1] += values[1]
        known[2] = min(known[2], values[2])
        known[3] = max(known[3], values[3])


def add_up(columns: Mapping[str, Sequence[Any]], groups: Sequence[int], count: int) -> list[Sums]:
    """Add rows of reports or of a roll-up up, given by column, each to its group."""
    of = np.asarray(groups, np.int64)
    reports = columns.get("reports", np.ones(len(of), np.int64))
    # the writer has bounded what is in a report: no sum comes near the end of 64 bits
    wholes = [_summed(columns[name], of, count, np.int64) for name in ("inferences", "errors", "dropped")]
    windows = _summed(columns["window_s"], of, count, np.float64)
    parts = zip(_summed(reports, of, count, np.int64), windows, *wholes, strict=True)
    made = [Sums(*part) for part in parts]
    if "gauges" in columns:
        for group, text in zip(groups, columns["gauges"], strict=True):
            for name, values in _GAUGES.decode(text).items() if text else ():
                made[group].add_gauge(name, values)
    else:
        for name in GAUGES:
            _add_gauges(made, name, np.array(columns[name], np.float64), of)
    for group, text in zip(groups, columns["error_kinds"], strict=True):
        if text:
            made[group].add_kinds(text)
    return made


def _summed(values: Any, of: npt.NDArray[np.int64], count: int, kind: type) -> list[Any]:  # noqa: ANN401  # a column
    sums: npt.NDArray[Any] = np.zeros(count, kind)
    np.add.at(sums, of, np.array(values, kind))
    found: list[Any] = sums.tolist()
    return found


def _add_gauges(made: list[Sums], name: str, values: npt.NDArray[np.float64], of: npt.NDArray[np.int64]) -> None:
    told = ~np.isnan(values)
    if not told.any():
        return
    values, of = values[told], of[told]
    sums, least = np.zeros(len(made)), np.full(len(made), np.inf)
    most = np.full(len(made), -np.inf)
    counts = np.bincount(of, minlength=len(made))
    np.add.at(sums, of, values)
    np.minimum.at(least, of, values)
    np.maximum.at(most, of, values)
    for group in np.flatnonzero(counts).tolist():
        parts = [float(counts[group]), float(sums[group]), float(least[group]), float(most[group])]
        made[group].gauges[name] = parts
