"""From messages to reports: topics and payloads are checked, everything is counted."""

import time
from collections.abc import Iterable

from edgekit.fleet.allowance import UNIT_BITS, Allowance, Limits, Noisy
from edgekit.fleet.store import Arrived, DeviceKey
from edgekit.fleet.wire import decode_report
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import HOST, Kind, Topic

KNOWN_LIMIT = 300_000
NO_LIMITS = Limits(rate=0.0, burst=0.0)


class Intake:
    """Collects a batch; `counted` is what has to be added to the counters with it, `noisy` who is beyond its limits."""

    def __init__(self, limits: Limits = NO_LIMITS) -> None:
        """Begin with nothing; `limits` are of each device."""
        self.batch: list[Arrived] = []
        self.counted = {"received": 0, "decoded": 0, "rejected": 0, "throttled": 0}
        self.noisy = Noisy[DeviceKey]()
        self._limits = limits
        self._known: dict[str, tuple[DeviceKey, Allowance]] = {}

    def take(self, messages: Iterable[tuple[str, bytes]], now_ms: int) -> None:
        """Decode messages that came at a time; what is wrong, or beyond its device's limits, is only counted."""
        batch, counted = self.batch, self.counted
        for topic, payload in messages:
            counted["received"] += 1
            try:
                key, allowance = self._known.get(topic) or self._learn(topic)
                cost = 1 + (len(payload) >> UNIT_BITS)
                allowance.left -= cost
                if allowance.left < 0 and not allowance.renewed(cost, time.monotonic()):
                    counted["throttled"] += 1
                    self.noisy.add(key)
                    continue
                report = decode_report(payload)
            except ProtocolError:
                counted["rejected"] += 1
                continue
            counted["decoded"] += 1
            batch.append(Arrived(key.site, key.device, now_ms, report))

    def _learn(self, topic: str) -> tuple[DeviceKey, Allowance]:
        place = Topic.parse(topic)
        if place.kind is not Kind.TELE or place.device == HOST:
            raise ProtocolError(f"topic '{topic[:120]}' is not a device's for reports")
        if len(self._known) >= KNOWN_LIMIT:
            self._known.clear()
        known = DeviceKey(place.site, place.device), Allowance(self._limits, time.monotonic())
        self._known[topic] = known
        return known

    def stored(self) -> None:
        """Begin the next batch."""
        self.batch = []
        self.counted = dict.fromkeys(self.counted, 0)
