"""The messages of protocol 1: what a device and the host say to each other.

Every field needed is in the body, so a broker that only speaks MQTT 3.1.1 works. Times are
milliseconds since 1970 (UTC) where the name says `ts_ms`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

from edgekit_agent.protocol.codec import Message, wire
from edgekit_agent.protocol.histogram import ExpHistogram
from edgekit_agent.protocol.topics import Kind

SCHEMA = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class State(Message):
    """Presence of a device (retained) and, as `offline`, its last will."""

    state: str = wire("st")
    birth: int | None = wire("bd", default=None)
    boot: str | None = None
    ts_ms: int | None = wire("ts", default=None)
    agent: str | None = None
    heartbeat_s: float | None = wire("hb", default=None)
    info: str | None = None
    why: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledModel(Message):
    """A model a device serves."""

    name: str
    version: str = wire("ver")
    artifact: str = wire("art")
    format: str
    runtime: str | None = wire("rt", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Info(Message):
    """What a device is (retained, sent when it changes)."""

    schema: int = SCHEMA
    agent: str
    hardware: Mapping[str, object]
    runtimes: Mapping[str, str]
    accelerators: tuple[str, ...] = ()
    models: tuple[InstalledModel, ...] = ()
    labels: Mapping[str, str] = wire("labels", default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency(Message):
    """Latency of each stage of an inference, in seconds."""

    pre: ExpHistogram
    infer: ExpHistogram
    post: ExpHistogram
    e2e: ExpHistogram


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Message):
    """One window of measurements of one model; (device, boot, seq) identifies it."""

    schema: int = SCHEMA
    ts_ms: int = wire("ts")
    boot: str
    seq: int
    history: int = wire("h", default=0)
    model: str
    version: str = wire("ver")
    artifact: str = wire("art")
    runtime: str = wire("rt")
    executed_on: tuple[str, ...] = wire("exec")
    window_s: float = wire("win_s")
    inferences: int = wire("n")
    errors: Mapping[str, int] = wire("err", default_factory=dict)
    dropped: int = wire("drop", default=0)
    latency: Latency = wire("lat")
    cpu_percent: float | None = wire("cpu", default=None)
    rss_bytes: int | None = wire("rss", default=None)
    temperature_c: float | None = wire("temp", default=None)
    throttled: int | None = wire("thr", default=None)
    statistics: Mapping[str, object] = wire("stat", default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Event(Message):
    """Something that happened; `code` is a reason code."""

    ts_ms: int = wire("ts")
    level: str = wire("lvl")
    code: str
    text: str = wire("msg")
    model: str | None = None
    boot: str | None = None
    detail: Mapping[str, object] = wire("detail", default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ack(Message):
    """Host to device: every report of the boot up to `seq` is committed in the store."""

    boot: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel(Message):
    """A model the host wants a device to serve."""

    name: str
    version: str
    target: str | None = None
    bundle: str | None = None
    sha256: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired(Message):
    """What the host wants of a device (retained, versioned)."""

    version: int = wire("v")
    models: tuple[DesiredModel, ...] = ()
    configuration: Mapping[str, object] = wire("conf", default_factory=dict)
    rollout: str | None = None
    lease_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPhase(Message):
    """How far a device is with one model."""

    name: str
    version: str
    phase: str
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Message):
    """What a device has of the desired state (retained)."""

    version: int = wire("v")
    models: tuple[ModelPhase, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Message):
    """A one-off request of the host."""

    operation: str = wire("op")
    arguments: Mapping[str, object] = wire("args", default_factory=dict)
    expires_ms: int | None = wire("exp", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Message):
    """Progress or the result of a command."""

    status: str
    progress: float | None = None
    result: Mapping[str, object] = wire("result", default_factory=dict)
    reason: str | None = None


BY_KIND: Mapping[Kind, type[Message]] = MappingProxyType(
    {
        Kind.STATE: State,
        Kind.INFO: Info,
        Kind.TELE: Report,
        Kind.EVENT: Event,
        Kind.ACK: Ack,
        Kind.DESIRED: Desired,
        Kind.REPORTED: Reported,
        Kind.COMMAND: Command,
        Kind.RESULT: Result,
    }
)
