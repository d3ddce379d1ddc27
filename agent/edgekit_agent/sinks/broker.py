"""Answers over MQTT: the worker hands them to its supervisor, which has the connection."""

import json
import socket

from edgekit_agent.sinks.base import Sink, Told
from edgekit_agent.sinks.settings import MQTT_RATE_HZ, SinkConfig

MAX_BYTES = 64 * 1024


class BrokerSink:
    """Sends answers to the supervisor as messages `answer`; it never waits for it."""

    kind = "mqtt"

    def __init__(self, control: socket.socket, rate_hz: float) -> None:
        """Take the worker's socket."""
        self._control, self.rate_hz = control, rate_hz

    def put(self, told: Told) -> bool:
        """Hand an answer over; one that is too long, or that the supervisor has no room for, is dropped."""
        message = json.dumps({"type": "answer", "body": told}, separators=(",", ":"), allow_nan=False).encode()
        if len(message) > MAX_BYTES:
            return False
        try:
            self._control.send(message, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return False
        return True

    def flush(self) -> None:
        """Nothing waits."""

    def close(self) -> None:
        """Nothing is open."""


def open_broker(config: SinkConfig, control: socket.socket) -> Sink:
    """Return a sink over MQTT."""
    return BrokerSink(control, config.rate_hz or MQTT_RATE_HZ)
