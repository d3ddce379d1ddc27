"""Where a model's answers go: to the broker, into a file, to a function.

`SINKS` is the table of kinds; a kind's keys stand in `sinks.settings`.
"""

import importlib
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from edgekit_agent.sinks.settings import SinkConfig

if TYPE_CHECKING:
    import socket

    from edgekit_agent.sinks.base import Sink

SINKS: Mapping[str, str] = MappingProxyType(
    {
        "mqtt": "edgekit_agent.sinks.broker:open_broker",
        "file": "edgekit_agent.sinks.file:open_file",
        "callback": "edgekit_agent.sinks.callback:open_callback",
    }
)
"""Kind -> "module:function" that opens it, loaded on use."""


def open_sinks(configs: Sequence[SinkConfig], control: "socket.socket") -> "list[Sink]":
    """Return the sinks of a configuration; `control` is the worker's socket to its supervisor.

    Raises:
        ConfigError: if a function cannot be imported.
    """
    found = []
    for config in configs:
        module, _, name = SINKS[config.kind].partition(":")
        opener: Callable[[SinkConfig, socket.socket], Sink] = getattr(importlib.import_module(module), name)
        found.append(opener(config, control))
    return found
