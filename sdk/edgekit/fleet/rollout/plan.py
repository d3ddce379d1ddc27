"""What is wanted of a rollout: which release, which devices in which order, and when it is to stop. Values only."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from edgekit.errors import UsageError

Key = tuple[str, str]
"""A device: its site and its name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Release:
    """A release of a model, as a desired state names it; without a target it is looked up by model and version."""

    model: str
    version: str
    target: str | None = None
    sha256: str | None = None
    bundle: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyGate:
    """A quantile of the latency of a stage: `limit` 0.1 stops what is 10 % slower, `tolerated` is never called bad."""

    quantile: float = 0.99
    stage: str = "e2e"
    limit: float = 0.10
    tolerated: float = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Gates:
    """When a wave is bad. `alpha` is the chance that a good release is stopped by the statistical gates together.

    Shares are of devices (`failures`, `silent`) or of inferences (`errors`, more than before); `crashes` are more than
    before, per device and hour; `drift` is a population stability index. None leaves a gate out.
    """

    latency: tuple[LatencyGate, ...] = (LatencyGate(quantile=0.99), LatencyGate(quantile=0.5))
    errors: float | None = 0.02
    crashes: float | None = 0.5
    drift: float | None = 0.25
    failures: float = 0.2
    silent: float | None = 0.2
    alpha: float = 0.01
    beta: float = 0.05
    least_devices: int = 1
    least_inferences: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """A rollout. Times are in seconds.

    Attributes:
        approve: the waves (from 0) after which somebody has to agree before the next.
        bake_s: how long a wave is watched at least, once its last device has ended.
        bake_limit_s: when a wave that cannot be judged is given up waiting for; `thin` says what happens then.
        device_s: how long a device that is there may take.
        on_bad: `rollback` takes all devices back, `stop` those that have not changed yet.
        thin: `pause` or `go`, when there is too little data to judge a wave by.
        pause_limit_s: after so long a pause, or without an approval, it ends where it stands.
    """

    release: Release
    waves: tuple[tuple[Key, ...], ...]
    gates: Gates = field(default_factory=Gates)
    approve: tuple[int, ...] = ()
    bake_s: float = 900.0
    bake_limit_s: float = 6 * 3600.0
    device_s: float = 3600.0
    max_concurrent: int = 50
    lease_s: float = 60.0
    on_bad: str = "rollback"
    thin: str = "pause"
    pause_limit_s: float = 30 * 86400.0

    def check(self) -> None:
        """Check what the types do not say.

        Raises:
            UsageError: naming what is wrong.
        """
        devices = [device for wave in self.waves for device in wave]
        for wrong, text in (
            (not devices, "there is no device to roll out to"),
            (len(set(devices)) < len(devices), "a device is in more than one wave"),
            (any(not wave for wave in self.waves), "a wave has no device"),
            (self.max_concurrent < 1, "max_concurrent is not 1 or more"),
            (min(self.bake_s, self.pause_limit_s) < 0, "a time is below 0"),
            (min(self.device_s, self.lease_s) < 1, "device_s or lease_s is below one second"),
            (self.bake_limit_s < self.bake_s, "bake_limit_s is shorter than bake_s"),
            (self.on_bad not in {"rollback", "stop"}, "on_bad is neither 'rollback' nor 'stop'"),
            (self.thin not in {"pause", "go"}, "thin is neither 'pause' nor 'go'"),
            (not 0 < self.gates.alpha < 1 or not 0 < self.gates.beta < 1, "alpha or beta is not between 0 and 1"),
            (any(not 0 <= one.tolerated < one.limit for one in self.gates.latency), "tolerated is not below limit"),
            (any(not 0 < one.quantile < 1 for one in self.gates.latency), "a quantile is not between 0 and 1"),
        ):
            if wrong:
                raise UsageError(text)


def spread(devices: Mapping[Key, str], seed: str) -> list[Key]:
    """Return devices in an order in which every beginning has each kind of hardware by its share.

    Args:
        devices: the kind of each.
        seed: of the order within a kind, so that it is not always the same devices that go first.
    """
    kinds: dict[str, list[Key]] = {}
    for key in sorted(devices, key=lambda one: hashlib.sha256(f"{seed}/{one}".encode()).digest()):
        kinds.setdefault(devices[key], []).append(key)
    placed = [((at + 0.5) / len(keys), kind, key) for kind, keys in kinds.items() for at, key in enumerate(keys)]
    return [key for _, _, key in sorted(placed)]


def waves_of(devices: Sequence[Key], canary: int, growth: float = 4.0, largest: int = 0) -> tuple[tuple[Key, ...], ...]:
    """Cut devices into a canary wave and waves that grow.

    Args:
        devices: in the order in which they are to go.
        canary: how many go first; 0 for none.
        growth: how many times larger each wave is than the one before.
        largest: devices of a wave at most; 0 for any.

    Raises:
        UsageError: if there are no devices, or waves do not grow.
    """
    if not devices or canary < 0 or growth < 1:
        raise UsageError("waves need at least one device, a canary of 0 or more, and a growth of 1 or more")
    waves: list[tuple[Key, ...]] = []
    at, size = 0, canary or len(devices)
    while at < len(devices):
        size = min(size, largest) if largest and waves else size
        waves.append(tuple(devices[at : at + size]))
        at, size = at + size, max(1, round(size * growth))
    return tuple(waves)


def canary_of(text: str, devices: int) -> int:
    """Return how many devices `5` or `5%` are: at least one, and not all of several.

    Raises:
        UsageError: if it is neither.
    """
    try:
        wanted = float(text.removesuffix("%")) / 100 * devices if text.endswith("%") else int(text)
    except ValueError as exc:
        raise UsageError(f"a canary is a number of devices or a percentage, not '{text[:40]}'") from exc
    if wanted < 0 or (text.endswith("%") and wanted > devices):
        raise UsageError(f"a canary of '{text[:40]}' is not between none and all")
    return 0 if wanted == 0 else max(1, min(round(wanted), devices - 1 or 1))
