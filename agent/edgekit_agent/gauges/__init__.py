"""What the kernel tells of the device and of worker processes while they run."""

from edgekit_agent.gauges.reader import READ_S, Gauges
from edgekit_agent.gauges.throttling import Throttled
from edgekit_agent.gauges.window import GaugeWindow

__all__ = ["READ_S", "GaugeWindow", "Gauges", "Throttled"]
