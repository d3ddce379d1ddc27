"""The options of a bundle: what it says of an artifact beyond what the artifact and its report say."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

from edgekit.errors import UsageError
from edgekit_agent.bundle import Bounds, Manifest, RuntimeRange
from edgekit_agent.bundle.versions import ranges
from edgekit_agent.errors import BundleError, ConfigError
from edgekit_agent.postprocess import Postprocess

_STEPS = 1000
_RUNTIME = re.compile(r"\s*([a-z0-9][a-z0-9-]*?)\s*((?:[<>=!].*)?)")


@dataclass(frozen=True, slots=True, kw_only=True)
class BundleOptions:
    """What to say of an artifact.

    `runtimes` are such as `ai-edge-litert>=2.3,<3`, the preferred first; none means every runtime of the agent that
    reads the format. `counter` None is made of the version. `golden` is data as everywhere (`test.npz[0:8]`); None
    makes seeded inputs. `baseline` is data whose inputs and answers drift is seen against. `tolerance` is a share of
    each output's largest magnitude, `memory_mb` in MiB.
    """

    version: str
    counter: int | None = None
    model: str | None = None
    hardware: tuple[str, ...] = ()
    runtimes: tuple[str, ...] = ()
    device: str = "CPU"
    precision: str | None = None
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    postprocess: Mapping[str, Any] = field(default_factory=dict)
    labels: Path | None = None
    golden: str | None = None
    baseline: str | None = None
    seed: int = 0
    tolerance: float | None = None
    p50_ms: float | None = None
    p99_ms: float | None = None
    memory_mb: int | None = None
    threads: int | None = None
    streams: int | None = None

    def __post_init__(self) -> None:
        """Check what needs no artifact.

        Raises:
            UsageError: naming the option and its form.
        """
        _formed("version", self.version)
        for one in self.hardware:
            _formed("hardware", one)
        if self.model is not None:
            _formed("model", self.model)
        for name in ("counter", "tolerance", "p50_ms", "p99_ms", "memory_mb"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < math.inf:
                raise UsageError(f"{name} {value} is not 0 or more")
        for name in ("threads", "streams"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise UsageError(f"{name} {value} is not 1 or more")
        try:
            Postprocess.from_mapping(self.postprocess)
        except ConfigError as exc:
            raise UsageError(str(exc)) from exc
        _ = self.release, self.named_runtimes

    @property
    def release(self) -> int:
        """The release counter: the one given, or one that rises with the version: 1.2.3 is 1002003.

        Raises:
            UsageError: if none is given and the version's second or third number is 1000 or more.
        """
        if self.counter is not None:
            return self.counter
        major, minor, patch = (int(one) for one in re.split(r"[-+]", self.version)[0].split("."))
        if max(minor, patch) >= _STEPS:
            raise UsageError(f"version '{self.version}' is too large to make a release counter of: give --counter")
        return (major * _STEPS + minor) * _STEPS + patch

    @property
    def named_runtimes(self) -> tuple[RuntimeRange, ...]:
        """The runtimes given, with their versions.

        Raises:
            UsageError: if one is not of the form `ai-edge-litert>=2.3,<3`.
        """
        found = []
        for text in self.runtimes:
            match = _RUNTIME.fullmatch(text)
            try:
                ranges(match[2] if match else text)
            except BundleError:
                match = None
            if match is None:
                raise UsageError(f"runtime '{text}' is not of the form ai-edge-litert>=2.3,<3")
            found.append(RuntimeRange(name=match[1], versions=match[2], device=self.device))
        return tuple(found)

    @property
    def bounds(self) -> Bounds:
        """What the model may take on a device."""
        memory = None if self.memory_mb is None else self.memory_mb << 20
        return Bounds(p50_ms=self.p50_ms, p99_ms=self.p99_ms, memory_bytes=memory)


def _formed(name: str, value: str) -> None:
    """Refuse what the manifest would refuse of a field."""
    (pattern,) = (one.metadata["pattern"] for one in fields(Manifest) if one.name == name)
    if not re.fullmatch(pattern, value):
        raise UsageError(f"{name} '{value}' is not of the form {pattern}")
