"""The messages that come from devices, as msgspec structs with the limits of `edgekit_agent.protocol`.

Field names are those of the protocol's dataclasses, names on the wire theirs too; a test compares the two. What is
only kept as it came (statistics) stays raw JSON.
"""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct, field

from edgekit_agent.protocol.codec import MAX_ITEMS, MAX_TEXT
from edgekit_agent.protocol.histogram import MAX_SCALE, MAX_WIRE_BUCKETS, MIN_SCALE

OFFSET_LIMIT = 2**20
COUNT_LIMIT = 2**53
MOST = 2**63 - 1

_Text = Annotated[str, Meta(max_length=MAX_TEXT)]
_Whole = Annotated[int, Meta(ge=-MOST, le=MOST)]
_Count = Annotated[int, Meta(ge=0, lt=COUNT_LIMIT)]
_Counts = Annotated[list[_Count], Meta(max_length=MAX_WIRE_BUCKETS)]
_Texts = Annotated[tuple[_Text, ...], Meta(max_length=MAX_ITEMS)]
_Table = Annotated[dict[str, Any], Meta(max_length=MAX_ITEMS)]
_TextTable = Annotated[dict[str, _Text], Meta(max_length=MAX_ITEMS)]
_CountTable = Annotated[dict[str, _Whole], Meta(max_length=MAX_ITEMS)]


class Histogram(Struct, frozen=True, gc=False):
    """Base-2 exponential histogram of seconds: see `edgekit_agent.protocol.histogram`."""

    scale: Annotated[int, Meta(ge=MIN_SCALE, le=MAX_SCALE)] = field(name="s")
    offset: Annotated[int, Meta(ge=-OFFSET_LIMIT, le=OFFSET_LIMIT)] = field(name="o")
    counts: _Counts = field(name="c")
    total: float = field(name="sum", default=0.0)
    minimum: float | None = field(name="min", default=None)
    maximum: float | None = field(name="max", default=None)
    zeros: Annotated[int, Meta(ge=0, le=COUNT_LIMIT)] = field(name="z", default=0)


class Latency(Struct, frozen=True, gc=False):
    """Latency of each stage of an inference."""

    pre: Histogram
    infer: Histogram
    post: Histogram
    e2e: Histogram
    queue: Histogram | None = None


class Report(Struct, frozen=True, gc=False):
    """One window of measurements of one model; (device, boot, seq) identifies it."""

    ts_ms: _Whole = field(name="ts")
    boot: _Text
    seq: _Whole
    model: _Text
    version: _Text = field(name="ver")
    artifact: _Text = field(name="art")
    runtime: _Text = field(name="rt")
    executed_on: _Texts = field(name="exec")
    window_s: float = field(name="win_s")
    inferences: _Whole = field(name="n")
    latency: Latency = field(name="lat")
    schema: _Whole = 1
    history: _Whole = field(name="h", default=0)
    lowest: _Whole | None = field(name="low", default=None)
    errors: _CountTable = field(name="err", default_factory=dict)
    dropped: _Whole = field(name="drop", default=0)
    cpu_percent: float | None = field(name="cpu", default=None)
    rss_bytes: _Whole | None = field(name="rss", default=None)
    temperature_c: float | None = field(name="temp", default=None)
    throttled: _Whole | None = field(name="thr", default=None)
    frequency_mhz: float | None = field(name="freq", default=None)
    power_w: float | None = field(name="pow", default=None)
    queue: _Whole | None = None
    statistics: msgspec.Raw = field(name="stat", default=msgspec.Raw(b"{}"))


class State(Struct, frozen=True):
    """Presence of a device, or its last will."""

    state: _Text = field(name="st")
    birth: _Whole | None = field(name="bd", default=None)
    boot: _Text | None = None
    ts_ms: _Whole | None = field(name="ts", default=None)
    agent: _Text | None = None
    heartbeat_s: float | None = field(name="hb", default=None)
    info: _Text | None = None
    why: _Text | None = None


class InstalledModel(Struct, frozen=True):
    """A model a device serves."""

    name: _Text
    version: _Text = field(name="ver")
    artifact: _Text = field(name="art")
    format: _Text
    runtime: _Text | None = field(name="rt", default=None)
    executed_on: _Texts | None = field(name="exec", default=None)
    threads: _Whole | None = field(name="thr", default=None)
    limits: _Table | None = None


class Info(Struct, frozen=True):
    """What a device is."""

    agent: _Text
    hardware: _Table
    runtimes: _TextTable
    schema: _Whole = 1
    accelerators: _Texts = ()
    models: Annotated[tuple[InstalledModel, ...], Meta(max_length=MAX_ITEMS)] = ()
    labels: _TextTable = field(default_factory=dict)


class Event(Struct, frozen=True):
    """Something that happened; `code` is a reason code."""

    ts_ms: _Whole = field(name="ts")
    level: _Text = field(name="lvl")
    code: _Text
    text: _Text = field(name="msg")
    model: _Text | None = None
    boot: _Text | None = None
    detail: _Table = field(default_factory=dict)


class ModelPhase(Struct, frozen=True):
    """How far a device is with one model."""

    name: _Text
    version: _Text
    phase: _Text
    reason: _Text | None = None
    serving: _Text | None = None
    progress: float | None = None
    detail: _Table | None = None


class RefusedKey(Struct, frozen=True):
    """Why a key of a configuration was refused."""

    reason: _Text
    text: _Text = field(name="msg")


class RemoteState(Struct, frozen=True):
    """What became of the configuration of a desired state."""

    version: _Whole = field(name="v")
    status: _Text
    refused: Annotated[dict[str, RefusedKey], Meta(max_length=MAX_ITEMS)] = field(default_factory=dict)


class Reported(Struct, frozen=True):
    """What a device has of the desired state."""

    version: _Whole = field(name="v")
    models: Annotated[tuple[ModelPhase, ...], Meta(max_length=MAX_ITEMS)] = ()
    configuration: RemoteState | None = field(name="conf", default=None)


class Result(Struct, frozen=True):
    """Progress or the result of a command."""

    status: _Text
    progress: float | None = None
    result: _Table = field(default_factory=dict)
    reason: _Text | None = None
    text: _Text | None = field(name="msg", default=None)
