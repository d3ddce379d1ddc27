"""`[[model.sink]]`: where a model's answers go. Standard library only."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from types import MappingProxyType

from edgekit_agent.checks import one_of, within
from edgekit_agent.errors import ConfigError

TAKES: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "mqtt": ("rate_hz",),
        "file": ("path", "max_mb", "keep", "rate_hz"),
        "callback": ("function", "path", "rate_hz"),
    }
)
"""The keys of each kind."""
MQTT_RATE_HZ = 10.0
_FUNCTION = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True, kw_only=True)
class SinkConfig:
    """Where answers go.

    `rate_hz` is how many a second at most, the others are dropped and counted (0: all; over MQTT 10 unless told).
    A file of `max_mb` millions of bytes is set aside, and `keep` of those are kept. `function` is `module:function`;
    its `path` is a folder to look for the module in.
    """

    kind: str
    rate_hz: float = 0.0
    path: str | None = None
    max_mb: float = 10.0
    keep: int = 4
    function: str | None = None

    def __post_init__(self) -> None:
        """Check the kind and what it needs."""
        one_of("model.sink.kind", self.kind, tuple(TAKES))
        for one in fields(self):
            if one.name not in {"kind", *TAKES[self.kind]} and getattr(self, one.name) != one.default:
                raise ConfigError(f"model.sink.{one.name} does not go with kind '{self.kind}'")
        within("model.sink.rate_hz", self.rate_hz, 0, 1e6)
        within("model.sink.max_mb", self.max_mb, 0.01, 1e6)
        within("model.sink.keep", self.keep, 0, 1000)
        if self.kind == "file" and self.path is None:
            raise ConfigError("model.sink of kind 'file' needs path")
        if (self.kind == "callback") != (self.function is not None):
            raise ConfigError("model.sink of kind 'callback' needs function")
        if self.function is not None and not _FUNCTION.fullmatch(self.function):
            raise ConfigError(f"model.sink.function '{self.function[:80]}' is not of the form module:function")
