"""What devices say, decoded by typed structs: the same contract as `edgekit_agent.protocol`, at a tenth of its cost."""

from edgekit.fleet.wire.decoding import KINDS, Wire, decode, decode_report, document
from edgekit.fleet.wire.structs import Event, Histogram, Info, InstalledModel, Latency, Report, Reported, Result, State

__all__ = [
    "KINDS",
    "Event",
    "Histogram",
    "Info",
    "InstalledModel",
    "Latency",
    "Report",
    "Reported",
    "Result",
    "State",
    "Wire",
    "decode",
    "decode_report",
    "document",
]
