"""A bridge to Sparkplug B 3.0: the fleet as one edge node, each device as a device of it."""

from edgekit.fleet.export.sparkplug.bridge import SparkplugBridge
from edgekit.fleet.export.sparkplug.codec import DataType, Metric, Payload, decode, encode

__all__ = ["DataType", "Metric", "Payload", "SparkplugBridge", "decode", "encode"]
