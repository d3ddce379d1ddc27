"""From messages to reports: topics and payloads are checked, everything is counted."""

from collections.abc import Iterable

from edgekit.fleet.store import Arrived, DeviceKey
from edgekit.fleet.wire import decode_report
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import HOST, Kind, Topic

KNOWN_LIMIT = 300_000


class Intake:
    """Collects a batch; `counted` is what has to be added to the counters with it."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.batch: list[Arrived] = []
        self.counted = {"received": 0, "decoded": 0, "rejected": 0}
        self._known: dict[str, DeviceKey] = {}

    def take(self, messages: Iterable[tuple[str, bytes]], now_ms: int) -> None:
        """Decode messages that came at a time; what is wrong is only counted."""
        batch, counted = self.batch, self.counted
        for topic, payload in messages:
            counted["received"] += 1
            try:
                key = self._known.get(topic) or self._learn(topic)
                report = decode_report(payload)
            except ProtocolError:
                counted["rejected"] += 1
                continue
            counted["decoded"] += 1
            batch.append(Arrived(key.site, key.device, now_ms, report))

    def _learn(self, topic: str) -> DeviceKey:
        place = Topic.parse(topic)
        if place.kind is not Kind.TELE or place.device == HOST:
            raise ProtocolError(f"topic '{topic[:120]}' is not a device's for reports")
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        key = self._known[topic] = DeviceKey(place.site, place.device)
        return key

    def stored(self) -> None:
        """Begin the next batch."""
        self.batch = []
        self.counted = dict.fromkeys(self.counted, 0)
