"""MQTT topics of protocol 1: `ek/1/{site}/{device}/...`."""

import re
from dataclasses import dataclass
from enum import StrEnum

from edgekit_agent.errors import ProtocolError

PREFIX = "ek/1"
HOST = "$host"
_NAME = re.compile(r"[a-z0-9-]{3,64}")
_COMMAND_ID = re.compile(r"[A-Za-z0-9-]{1,64}")
_MODEL = re.compile(r"[^/+#\0]{1,64}")


class Kind(StrEnum):
    """The fifth level of a topic, which decides the type of the message."""

    STATE = "state"
    INFO = "info"
    TELE = "tele"
    EVENT = "event"
    ACK = "ack"
    DESIRED = "desired"
    REPORTED = "reported"
    COMMAND = "cmd"
    RESULT = "res"
    OUTPUT = "out"


def check_name(name: str, what: str) -> str:
    """Return a device or site name unchanged.

    Raises:
        ProtocolError: if it is not 3 to 64 characters of `[a-z0-9-]`.
    """
    if not _NAME.fullmatch(name):
        msg = f"{what} name '{name[:80]}' is not 3 to 64 characters of a-z, 0-9 and '-'"
        raise ProtocolError(msg)
    return name


_LAST = {Kind.COMMAND: _COMMAND_ID, Kind.RESULT: _COMMAND_ID, Kind.OUTPUT: _MODEL}
"""Kinds that have one more level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Topic:
    """One topic taken apart; `device` is `$host` for the host's own state.

    `command` is the id of a command, or the model that an output is of.
    """

    site: str
    device: str
    kind: Kind
    command: str | None = None

    def __str__(self) -> str:
        """Return the topic as it stands on the wire."""
        tail = f"/{self.command}" if self.command else ""
        return f"{PREFIX}/{self.site}/{self.device}/{self.kind}{tail}"

    @classmethod
    def parse(cls, text: str) -> "Topic":
        """Take a topic apart.

        Raises:
            ProtocolError: if the text is no topic of this protocol.
        """
        levels = text.split("/")
        if len(levels) not in {5, 6} or levels[:2] != PREFIX.split("/"):
            msg = f"topic '{text[:120]}' is not of the form {PREFIX}/site/device/kind"
            raise ProtocolError(msg)
        site, device = check_name(levels[2], "site"), levels[3]
        if device != HOST:
            check_name(device, "device")
        try:
            kind = Kind(levels[4])
        except ValueError as exc:
            msg = f"topic '{text[:120]}' has the unknown kind '{levels[4][:40]}'"
            raise ProtocolError(msg) from exc
        last = _LAST.get(kind)
        if bool(last) != bool(levels[5:]) or (last and not last.fullmatch(levels[5])):
            msg = f"topic '{text[:120]}' has {'no' if last else 'an unexpected'} command id or model"
            raise ProtocolError(msg)
        return cls(site=site, device=device, kind=kind, command=levels[5] if last else None)


def device_topic(site: str, device: str, kind: Kind, command: str | None = None) -> str:
    """Return the topic of a device (or `$host`) as text."""
    return str(Topic(site=site, device=device, kind=kind, command=command))


def commands_of(site: str, device: str) -> str:
    """Return the filter that matches every command to a device."""
    return str(Topic(site=site, device=device, kind=Kind.COMMAND, command="+"))


def matches(pattern: str, topic: str) -> bool:
    """Whether a topic is one that a filter means; `+` stands for one level."""
    wanted, levels = pattern.split("/"), topic.split("/")
    return len(wanted) == len(levels) and all(one in {"+", other} for one, other in zip(wanted, levels, strict=True))


def subscription(kind: Kind, site: str | None = None) -> str:
    """Return the filter that matches one kind of message of every device, in one site or in all."""
    tail = "/+" if kind in _LAST else ""
    return f"{PREFIX}/{site or '+'}/+/{kind}{tail}"
