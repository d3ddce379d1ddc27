"""The contract between host and device: topics, messages, reason codes. Standard library only."""

from edgekit_agent.protocol.codec import MAX_MESSAGE_BYTES, Message
from edgekit_agent.protocol.histogram import MEMORY_SCALE, WIRE_SCALE, ExpHistogram
from edgekit_agent.protocol.messages import (
    BY_KIND,
    SCHEMA,
    Ack,
    Command,
    Desired,
    DesiredModel,
    Event,
    Info,
    InstalledModel,
    Latency,
    ModelPhase,
    Report,
    Reported,
    Result,
    State,
)
from edgekit_agent.protocol.reasons import SENTENCES, Reason, sentence
from edgekit_agent.protocol.topics import HOST, PREFIX, Kind, Topic, check_name, device_topic, subscription

__all__ = [
    "BY_KIND",
    "HOST",
    "MAX_MESSAGE_BYTES",
    "MEMORY_SCALE",
    "PREFIX",
    "SCHEMA",
    "SENTENCES",
    "WIRE_SCALE",
    "Ack",
    "Command",
    "Desired",
    "DesiredModel",
    "Event",
    "ExpHistogram",
    "Info",
    "InstalledModel",
    "Kind",
    "Latency",
    "Message",
    "ModelPhase",
    "Reason",
    "Report",
    "Reported",
    "Result",
    "State",
    "Topic",
    "check_name",
    "device_topic",
    "sentence",
    "subscription",
]
