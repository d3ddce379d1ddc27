"""The columns of CSV and Parquet files: one table, so that both have the same."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from edgekit.fleet.store.history import HistoryRow
from edgekit.fleet.store.tables import GAUGES, STAGES

Value = str | int | float | None


@dataclass(frozen=True, slots=True)
class Column:
    """A column; `kind` is `text`, `int`, `float` or `time` (milliseconds since 1970, UTC)."""

    name: str
    kind: str
    read: Callable[[HistoryRow], Value]


QUANTILES: Final[Mapping[str, float]] = {"p50": 0.5, "p90": 0.9, "p99": 0.99}
_GAUGES: Final[Mapping[str, str]] = {
    "cpu": "cpu_percent", "rss": "memory_bytes", "temp": "temperature_c", "thr": "throttled",
    "freq": "frequency_mhz", "pow": "power_w", "depth": "queue",
}  # fmt: skip


def columns(*, histograms: bool = False) -> tuple[Column, ...]:
    """Return the columns in their order.

    Args:
        histograms: with the whole histogram of each stage, as JSON in the form it has on the wire.
    """
    found = [
        Column("at_ms", "time", lambda row: row.at_ms),
        Column("site", "text", lambda row: row.key.site),
        Column("device", "text", lambda row: row.key.device),
        *(Column(name, "text", _attribute(name)) for name in ("hardware", "model", "version", "artifact", "runtime")),
        Column("reports", "int", _attribute("reports")),
        Column("window_s", "float", _attribute("window_s")),
        *(Column(name, "int", _attribute(name)) for name in ("inferences", "errors", "dropped")),
    ]
    for stage in STAGES:
        found.append(Column(f"{stage}_count", "int", _count(stage)))
        found.append(Column(f"{stage}_mean_ms", "float", _mean(stage)))
        found += [Column(f"{stage}_{name}_ms", "float", _quantile(stage, q)) for name, q in QUANTILES.items()]
        found.append(Column(f"{stage}_max_ms", "float", _maximum(stage)))
        if histograms:
            found.append(Column(f"{stage}_histogram", "text", _histogram(stage)))
    for name in GAUGES:
        found.append(Column(f"{_GAUGES[name]}_mean", "float", _gauge_mean(name)))
        found.append(Column(f"{_GAUGES[name]}_max", "float", _gauge_most(name)))
    return tuple(found)


def _attribute(name: str) -> Callable[[HistoryRow], Value]:
    def read(row: HistoryRow) -> Value:
        value: Value = getattr(row, name)
        return value

    return read


def _count(stage: str) -> Callable[[HistoryRow], Value]:
    return lambda row: row.latency[stage].count if stage in row.latency else 0


def _mean(stage: str) -> Callable[[HistoryRow], Value]:
    return lambda row: row.latency[stage].mean * 1000 if stage in row.latency else None


def _quantile(stage: str, q: float) -> Callable[[HistoryRow], Value]:
    return lambda row: row.latency[stage].quantile(q) * 1000 if stage in row.latency else None


def _maximum(stage: str) -> Callable[[HistoryRow], Value]:
    return lambda row: row.latency[stage].maximum * 1000 if stage in row.latency else None


def _histogram(stage: str) -> Callable[[HistoryRow], Value]:
    def read(row: HistoryRow) -> Value:
        return json.dumps(row.latency[stage].to_json(), separators=(",", ":")) if stage in row.latency else None

    return read


def _gauge_mean(name: str) -> Callable[[HistoryRow], Value]:
    return lambda row: row.gauges[name][1] / row.gauges[name][0] if name in row.gauges else None


def _gauge_most(name: str) -> Callable[[HistoryRow], Value]:
    return lambda row: row.gauges[name][3] if name in row.gauges else None
