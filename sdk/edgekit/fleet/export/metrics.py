"""The metrics of a fleet, whatever form they are told in: one ordered table, read out of the store.

Counters begin with the store, not with the service: they go on after a restart. A device is a label only where the
totals tell devices apart.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit.fleet.export.census import Census, take_census
from edgekit.fleet.store.counters import NAMES
from edgekit.fleet.store.totals import TotalRow, TotalsState
from edgekit_agent import __version__
from edgekit_agent.protocol import ExpHistogram

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

Labels = tuple[tuple[str, str], ...]


class Kind(StrEnum):
    """What a metric is."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


@dataclass(frozen=True, slots=True)
class Sample:
    """A value with its labels."""

    labels: Labels
    value: float | ExpHistogram


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that metrics are made of, read once."""

    totals: list[TotalRow]
    state: TotalsState
    counters: Mapping[str, Mapping[str, int]]
    census: Census
    unrolled: int

    @classmethod
    def of(cls, store: "Store") -> "Snapshot":
        """Read it."""
        return cls(
            totals=store.totals.rows(),
            state=store.totals.state(),
            counters=store.counters.by_source(),
            census=take_census(store.engine),
            unrolled=store.rollups.waiting()[0],
        )


@dataclass(frozen=True, slots=True)
class Metric:
    """A metric: what it is called, what it means, and how it is read out of a snapshot."""

    name: str
    kind: Kind
    help: str
    read: Callable[[Snapshot], Iterator[Sample]]


def group_labels(row: TotalRow) -> Labels:
    """Return the labels of a group, `device` last where there is one."""
    group = row.group
    device = (("device", group.device),) if group.device else ()
    return (
        ("site", group.site),
        ("hardware", group.hardware),
        ("model", group.model),
        ("version", group.version),
        *device,
    )


def _latency(snapshot: Snapshot) -> Iterator[Sample]:
    for row in snapshot.totals:
        for stage, histogram in row.latency.items():
            yield Sample((*group_labels(row), ("stage", stage)), histogram)


def _sum(name: str) -> Callable[[Snapshot], Iterator[Sample]]:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for row in snapshot.totals:
            yield Sample(group_labels(row), getattr(row, name))

    return read


def _gauge(name: str, factor: float = 1.0) -> Callable[[Snapshot], Iterator[Sample]]:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        for row in snapshot.totals:
            if name in row.gauges and row.last_ms >= snapshot.census.now_ms - GAUGE_AGE_MS:
                count, total, least, most = row.gauges[name]
                for what, value in (("least", least), ("mean", total / count), ("most", most)):
                    yield Sample((*group_labels(row), ("of", what)), value * factor)

    return read


def _ingest(snapshot: Snapshot) -> Iterator[Sample]:
    for source, counters in sorted(snapshot.counters.items()):
        if source != "totals" and not source.startswith(BRIDGE):
            for outcome, value in sorted(counters.items()):
                yield Sample((("source", source), ("outcome", outcome)), value)


def _bridges(snapshot: Snapshot) -> Iterator[Sample]:
    for source, counters in sorted(snapshot.counters.items()):
        for outcome, value in sorted(counters.items()) if source.startswith(BRIDGE) else ():
            if value or outcome not in NAMES:
                yield Sample((("bridge", source.removeprefix(BRIDGE)), ("outcome", outcome)), value)


def _one(read: Callable[[Snapshot], float]) -> Callable[[Snapshot], Iterator[Sample]]:
    def samples(snapshot: Snapshot) -> Iterator[Sample]:
        yield Sample((), read(snapshot))

    return samples


def _counted(name: str, labels: tuple[str, ...]) -> Callable[[Snapshot], Iterator[Sample]]:
    def read(snapshot: Snapshot) -> Iterator[Sample]:
        counts: Mapping[tuple[str, ...], int] = getattr(snapshot.census, name)
        for values, count in sorted(counts.items()):
            yield Sample(tuple(zip(labels, values, strict=True)), count)

    return read


GAUGE_AGE_MS = 300_000
BRIDGE = "bridge-"
_LAST = "of the last one or two minutes, over the group's reports"
METRICS: tuple[Metric, ...] = (
    Metric("edgekit_latency_seconds", Kind.HISTOGRAM, "Time of each stage of an inference.", _latency),
    Metric("edgekit_inferences_total", Kind.COUNTER, "Inferences.", _sum("inferences")),
    Metric("edgekit_inference_errors_total", Kind.COUNTER, "Inferences that failed.", _sum("errors")),
    Metric("edgekit_inferences_dropped_total", Kind.COUNTER, "Inputs left out for want of time.", _sum("dropped")),
    Metric("edgekit_reports_total", Kind.COUNTER, "Reports of devices, each counted once.", _sum("reports")),
    Metric("edgekit_measured_seconds_total", Kind.COUNTER, "Time that reports cover.", _sum("window_s")),
    Metric("edgekit_cpu_percent", Kind.GAUGE, f"Use of a device's processor by a model, {_LAST}.", _gauge("cpu")),
    Metric("edgekit_memory_bytes", Kind.GAUGE, f"Resident memory of a model, {_LAST}.", _gauge("rss")),
    Metric("edgekit_temperature_celsius", Kind.GAUGE, f"Temperature, {_LAST}.", _gauge("temp")),
    Metric("edgekit_throttled", Kind.GAUGE, f"What holds a device back (bits; 0: nothing), {_LAST}.", _gauge("thr")),
    Metric("edgekit_frequency_hertz", Kind.GAUGE, f"Clock of the processor, {_LAST}.", _gauge("freq", 1e6)),
    Metric("edgekit_power_watts", Kind.GAUGE, f"Power drawn, {_LAST}.", _gauge("pow")),
    Metric("edgekit_queue_requests", Kind.GAUGE, f"Requests waiting, {_LAST}.", _gauge("depth")),
    Metric("edgekit_devices", Kind.GAUGE, "Devices, by presence.", _counted("devices", ("site", "presence", "reason"))),
    Metric(
        "edgekit_model_devices",
        Kind.GAUGE,
        "Devices that serve a model, by version.",
        _counted("models", ("model", "version")),
    ),
    Metric("edgekit_rollouts", Kind.GAUGE, "Rollouts, by how they stand.", _counted("rollouts", ("status",))),
    Metric(
        "edgekit_rollout_devices",
        Kind.GAUGE,
        "Devices of rollouts that have not ended, by how they stand.",
        _counted("rollout_devices", ("status",)),
    ),
    Metric("edgekit_ingest_messages_total", Kind.COUNTER, "Messages of devices, by what became of them.", _ingest),
    Metric("edgekit_bridge_messages_total", Kind.COUNTER, "What bridges and exporters did.", _bridges),
    Metric("edgekit_rollup_waiting_reports", Kind.GAUGE, "Reports not in minutes yet.", _one(lambda s: s.unrolled)),
    Metric(
        "edgekit_metrics_waiting_reports", Kind.GAUGE, "Reports not counted here yet.", _one(lambda s: s.state.waiting)
    ),
    Metric("edgekit_metrics_groups", Kind.GAUGE, "Groups that are told.", _one(lambda s: s.state.groups)),
    Metric("edgekit_metrics_groups_limit", Kind.GAUGE, "How many groups are told.", _one(lambda s: s.state.limit)),
    Metric(
        "edgekit_metrics_overflowed_reports_total",
        Kind.COUNTER,
        "Reports told in the group `_overflow`, because there were too many groups.",
        _one(lambda s: s.counters.get("totals", {}).get("overflowed", 0)),
    ),
    Metric(
        "edgekit_build_info",
        Kind.GAUGE,
        "1, with the version as a label.",
        lambda _: iter((Sample((("version", __version__),), 1),)),
    ),
)
"""In the order they are told."""

BY_NAME: Mapping[str, Metric] = MappingProxyType({metric.name: metric for metric in METRICS})
