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
    """A model a device serves; `limits` are those that the kernel holds its processes to."""

    name: str
    version: str = wire("ver")
    artifact: str = wire("art")
    format: str
    runtime: str | None = wire("rt", default=None)
    executed_on: tuple[str, ...] | None = wire("exec", default=None)
    threads: int | None = wire("thr", default=None)
    limits: Mapping[str, object] | None = None


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
    """Latency of each stage of an inference, in seconds; `queue` is the wait of requests, part of `e2e`."""

    pre: ExpHistogram
    infer: ExpHistogram
    post: ExpHistogram
    e2e: ExpHistogram
    queue: ExpHistogram | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report(Message):
    """One window of measurements of one model; (device, boot, seq) identifies it.

    A late one (`history` 1) says the `lowest` number of its boot that can still come: what is below is stored or lost.
    """

    schema: int = SCHEMA
    ts_ms: int = wire("ts")
    boot: str
    seq: int
    history: int = wire("h", default=0)
    lowest: int | None = wire("low", default=None)
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
    frequency_mhz: float | None = wire("freq", default=None)
    power_w: float | None = wire("pow", default=None)
    queue: int | None = None
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
    """Host to device: every report of the boot up to `seq` is committed in the store, or is lost to the device too."""

    boot: str
    seq: int


@dataclass(frozen=True, slots=True, kw_only=True)
class DesiredModel(Message):
    """A model the host wants a device to serve.

    `back` asks for the release the device served before this one, from its own disk.

    `target` is its name in the repository; without one it is the signed target of that model and version. `bundle` is
    the repository's URL where it is not the one the device is configured with. What is signed must say the same.
    """

    name: str
    version: str
    target: str | None = None
    bundle: str | None = None
    sha256: str | None = None
    back: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Desired(Message):
    """What the host wants of a device (retained, versioned).

    With `lease_s` a release is tried, and kept, only by leave: the device asks (`ModelPhase.lease`), and a message of
    the same version that is not retained and has the question as `lease` answers, within so many seconds.
    """

    version: int = wire("v")
    models: tuple[DesiredModel, ...] = ()
    configuration: Mapping[str, object] = wire("conf", default_factory=dict)
    rollout: str | None = None
    lease_s: float | None = None
    lease: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelPhase(Message):
    """How far a device is with one model: the version that is or was being installed, and the one it serves now.

    `phase` is announced, checking, downloading, verifying, staged, trial, rolling_back, committed or cleanup on the
    way; committed, rejected, failed or superseded is how it ended. `detail` has a sentence, and of a worker that died
    its signal and last lines. `lease` is what the host is asked for leave with, before the trial and at its end.
    """

    name: str
    version: str
    phase: str
    reason: str | None = None
    serving: str | None = None
    progress: float | None = None
    detail: Mapping[str, object] | None = None
    lease: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RefusedKey(Message):
    """Why a key of a configuration was refused; `reason` is a reason code."""

    reason: str
    text: str = wire("msg")


@dataclass(frozen=True, slots=True, kw_only=True)
class RemoteState(Message):
    """What became of the configuration of a desired state: `applied`, or `refused` as a whole because of some keys."""

    version: int = wire("v")
    status: str
    refused: Mapping[str, RefusedKey] = wire("refused", default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reported(Message):
    """What a device has of the desired state (retained)."""

    version: int = wire("v")
    models: tuple[ModelPhase, ...] = ()
    configuration: RemoteState | None = wire("conf", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Command(Message):
    """A one-off request of the host."""

    operation: str = wire("op")
    arguments: Mapping[str, object] = wire("args", default_factory=dict)
    expires_ms: int | None = wire("exp", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Result(Message):
    """Progress or the result of a command: `running`, `done`, `failed` or `refused`; `reason` is a reason code."""

    status: str
    progress: float | None = None
    result: Mapping[str, object] = wire("result", default_factory=dict)
    reason: str | None = None
    text: str | None = wire("msg", default=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoredClass(Message):
    """A class with its score; in a detector's output with its box: x1, y1, x2, y2 in pixels of the source."""

    number: int = wire("class")
    label: str | None = None
    score: float
    box: tuple[float, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Output(Message):
    """What a model says of one input, the best first: classes, or boxes, or what its outputs are like."""

    ts_ms: int = wire("ts")
    model: str
    version: str = wire("ver")
    classes: tuple[ScoredClass, ...] | None = None
    boxes: tuple[ScoredClass, ...] | None = None
    outputs: tuple[Mapping[str, object], ...] | None = None


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
        Kind.OUTPUT: Output,
    }
)
