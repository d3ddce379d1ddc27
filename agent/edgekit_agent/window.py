"""What the workers of one release have measured in a stretch of time, merged into one report."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from edgekit_agent.counts import add_counts
from edgekit_agent.gauges import GaugeWindow
from edgekit_agent.protocol import WIRE_SCALE, ExpHistogram, Latency

STAGES = ("pre", "infer", "post", "e2e", "queue")


@dataclass(slots=True)
class Window:
    """Merged pieces; `start` is on the steady clock."""

    start: float
    latency: dict[str, ExpHistogram] = field(default_factory=lambda: {name: ExpHistogram() for name in STAGES})
    inferences: int = 0
    errors: dict[str, int] = field(default_factory=dict)
    dropped: int = 0
    statistics: dict[str, Any] = field(default_factory=dict)
    _covered: dict[int, float] = field(default_factory=dict)
    _gauges: GaugeWindow = field(default_factory=GaugeWindow)

    def add(self, number: int, message: Mapping[str, Any]) -> None:
        """Take in what a worker has measured since its last message."""
        for stage, told in message["lat"].items():
            self.latency[stage].merge(ExpHistogram.from_json(told))
        self._covered[number] = self._covered.get(number, 0.0) + message["span_s"]
        self._gauges.add(number, message["gauges"])
        self.inferences += message["n"]
        self.dropped += message["drop"]
        add_counts(self.errors, message["err"])
        add_counts(self.statistics, message["stat"])

    def count(self, statistics: Mapping[str, Any]) -> None:
        """Add counts to the statistics."""
        add_counts(self.statistics, statistics)

    @property
    def measured_s(self) -> float:
        """The time the measurements cover: workers measure side by side, so the longest."""
        return max(self._covered.values(), default=0.0)

    @property
    def empty(self) -> bool:
        """Whether there is nothing to report."""
        return not (self.inferences or self.errors or self.dropped)

    def gauges(self) -> dict[str, Any]:
        """Return the crew's gauges."""
        return self._gauges.told()

    def on_the_wire(self) -> Latency:
        """Return the latency as it is reported."""
        pre, infer, post, e2e, queue = (self.latency[stage].at_scale(WIRE_SCALE) for stage in STAGES)
        return Latency(pre=pre, infer=infer, post=post, e2e=e2e, queue=queue if queue.count else None)
