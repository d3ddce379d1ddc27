"""The rows of the store, as frozen values. Times are milliseconds since 1970 (UTC)."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from edgekit.fleet.wire import Info, Report, Reported, State
from edgekit_agent.protocol import ExpHistogram


class DeviceKey(NamedTuple):
    """A device's name."""

    site: str
    device: str


class Arrived(NamedTuple):
    """A report as it came."""

    site: str
    device: str
    arrived_ms: int
    report: Report


class Heard(NamedTuple):
    """What a device says of itself, decoded, and as it came."""

    key: DeviceKey
    message: State | Info | Reported
    raw: bytes
    now_ms: int


class Ack(NamedTuple):
    """What to acknowledge: every report of the boot up to `seq` is stored, or lost to the device too."""

    site: str
    device: str
    boot: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a batch; `refused` were not stored and not acknowledged: the device sends them again."""

    acks: tuple[Ack, ...] = ()
    stored: int = 0
    duplicates: int = 0
    refused: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedModel:
    """A model that a device serves."""

    name: str
    version: str
    artifact: str
    runtime: str
    seen_ms: int


@dataclass(frozen=True, kw_only=True)
class DeviceRow:
    """A device and all that is known of it; `info` and `reported` are JSON as they came."""

    id: int
    site: str
    device: str
    first_seen_ms: int
    last_seen_ms: int
    last_report_ms: int | None = None
    state: str | None = None
    birth: int | None = None
    boot: str | None = None
    state_ts_ms: int | None = None
    state_at_ms: int | None = None
    agent: str | None = None
    heartbeat_s: float | None = None
    why: str | None = None
    presence: str = "unknown"
    presence_reason: str = "never-seen"
    presence_since_ms: int = 0
    info: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    hardware: Mapping[str, object] = field(default_factory=dict)
    reported_version: int | None = None
    reported: str | None = None
    reported_at_ms: int | None = None
    models: tuple[ServedModel, ...] = ()

    @property
    def key(self) -> DeviceKey:
        """The device's name."""
        return DeviceKey(self.site, self.device)

    @cached_property
    def described(self) -> Mapping[str, object]:
        """What `info` says, empty before it came."""
        found: object = json.loads(self.info) if self.info else {}
        return found if isinstance(found, dict) else {}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportRow:
    """A stored report; `at_ms` is when its window ended on the host's clock. Stages not measured are left out."""

    id: int
    site: str
    device: str
    boot: str
    seq: int
    model: str
    version: str
    artifact: str
    runtime: str
    at_ms: int
    ts_ms: int
    arrived_ms: int
    history: bool
    window_s: float
    inferences: int
    errors: int
    dropped: int
    latency: Mapping[str, ExpHistogram]
    gauges: Mapping[str, float]
    error_kinds: Mapping[str, int]
    statistics: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRow:
    """A stored event."""

    id: int
    site: str
    device: str
    ts_ms: int
    arrived_ms: int
    level: str
    code: str
    text: str
    model: str | None = None
    boot: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(slots=True, kw_only=True)
class Gauge:
    """How many values were told, their sum, the least and the most."""

    count: int = 0
    total: float = 0.0
    least: float = 0.0
    most: float = 0.0

    @property
    def mean(self) -> float:
        """The mean of the values told."""
        return self.total / self.count if self.count else 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesPoint:
    """All reports of a group in a step of time: counts added, histograms merged exactly.

    `group` is empty, or the device (`site/device`), version or hardware that the point is of.
    """

    start_ms: int
    step_s: int
    group: str
    histogram: ExpHistogram
    reports: int
    window_s: float
    inferences: int
    errors: int
    dropped: int
    gauges: Mapping[str, Gauge]
    error_kinds: Mapping[str, int]
