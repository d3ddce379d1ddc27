"""Acknowledgements on their way to devices: of each boot the newest, once a second."""

from collections.abc import Iterable, Iterator

from edgekit.fleet.store import Ack
from edgekit_agent.protocol import Ack as AckMessage
from edgekit_agent.protocol import Kind, device_topic

EVERY_S = 1.0
EXPIRY_S = 60


class Acks:
    """Holds what was committed until it is told."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self._waiting: dict[tuple[str, str, str], int] = {}
        self._told_s = float("-inf")

    def add(self, acks: Iterable[Ack]) -> None:
        """Note what is committed."""
        for ack in acks:
            self._waiting[ack.site, ack.device, ack.boot] = ack.seq

    def due(self, now_s: float, *, all_now: bool = False) -> Iterator[tuple[str, bytes]]:
        """Yield topic and payload of what is to be told now."""
        if not self._waiting or (now_s - self._told_s < EVERY_S and not all_now):
            return
        self._told_s = now_s
        waiting, self._waiting = self._waiting, {}
        for (site, device, boot), seq in waiting.items():
            yield device_topic(site, device, Kind.ACK), AckMessage(boot=boot, seq=seq).to_bytes()
