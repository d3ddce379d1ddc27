"""Answers of models on their way to the broker: now or not at all, and never more than it takes."""

from collections.abc import Mapping

from edgekit_agent.config import AgentConfig
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import Kind, Output, device_topic
from edgekit_agent.transport.base import Transport

IN_FLIGHT = 50
EXPIRY_S = 60


class Answers:
    """Publishes answers that models with a sink of kind `mqtt` give."""

    def __init__(self, config: AgentConfig, transport: Transport) -> None:
        """Take the device's name and its connection."""
        self._config, self._transport = config, transport
        self._flying: set[int] = set()

    def put(self, model: str, body: Mapping[str, object]) -> bool:
        """Publish an answer; return whether it went: not without a connection, or with too many on their way."""
        if len(self._flying) >= IN_FLIGHT:
            return False
        try:
            payload = Output.from_json(body).to_bytes()
        except ProtocolError:  # longer than a message may be
            return False
        topic = device_topic(self._config.site, self._config.device, Kind.OUTPUT, model)
        token = self._transport.publish(topic, payload, expiry_s=EXPIRY_S)
        if token is not None:
            self._flying.add(token)
        return token is not None

    def taken(self, token: int) -> None:
        """Note that the broker has taken a message, of ours or not."""
        self._flying.discard(token)

    def connected(self) -> None:
        """Note a new connection: what was on its way is gone."""
        self._flying.clear()
