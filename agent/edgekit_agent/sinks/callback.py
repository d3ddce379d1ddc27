"""Answers to a function that the configuration names; it runs in the worker."""

import importlib
import socket
import sys
from collections.abc import Callable

from edgekit_agent.errors import ConfigError
from edgekit_agent.sinks.base import Sink, Told
from edgekit_agent.sinks.settings import SinkConfig


class CallbackSink:
    """Calls `function(answer)` with a dictionary. What it takes delays the next inference."""

    kind = "callback"

    def __init__(self, function: Callable[[Told], object], rate_hz: float = 0.0) -> None:
        """Take the function."""
        self._function, self.rate_hz = function, rate_hz

    def put(self, told: Told) -> bool:
        """Call it."""
        self._function(told)
        return True

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def open_callback(config: SinkConfig, _control: socket.socket) -> Sink:
    """Import the function; only the file of the configuration can name one.

    Raises:
        ConfigError: if there is no such function, or its module fails when it is imported.
    """
    module, _, name = (config.function or "").partition(":")
    if config.path is not None and config.path not in sys.path:
        sys.path.insert(0, config.path)
    try:
        function = getattr(importlib.import_module(module), name)
    except (Exception, SystemExit) as exc:  # a user's own module
        raise ConfigError(f"model.sink.function '{config.function}' cannot be imported: {exc}") from exc
    if not callable(function):
        raise ConfigError(f"model.sink.function '{config.function}' cannot be called")
    return CallbackSink(function, config.rate_hz)
