"""The port to the broker. It never blocks: what happened comes back from `poll`."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class Connected:
    """A connection stands, with the birth number its last will was made for."""

    birth: int
    protocol: str


@dataclass(frozen=True, slots=True)
class Disconnected:
    """The connection is gone, or could not be made."""

    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """The broker has taken a message; `heard` is False when it says that nobody has subscribed."""

    token: int
    heard: bool = True


@dataclass(frozen=True, slots=True)
class Received:
    """A message of a topic that was subscribed to, at most 256 KiB."""

    topic: str
    payload: bytes


TransportEvent = Connected | Disconnected | Taken | Received


@dataclass(frozen=True, slots=True)
class Will:
    """What the broker publishes, retained, when the connection is lost."""

    birth: int
    topic: str
    payload: bytes


class Transport(Protocol):
    """A connection to a broker that comes back by itself."""

    def start(self, will: Callable[[], Will], topics: Sequence[str] = ()) -> None:
        """Begin to connect in the background; `will` is asked anew before each connection.

        Each connection subscribes to the topics, and is told when that is done.
        """
        ...

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> int | None:
        """Hand a message over at least once (QoS 1); return its token, or None when not connected."""
        ...

    def poll(self) -> list[TransportEvent]:
        """Return what has happened since the last call, in order."""
        ...

    @property
    def alive(self) -> bool:
        """Whether what it does in the background goes on; false when that has ended or is stuck."""
        ...

    def fileno(self) -> int:
        """Return a descriptor that is readable when `poll` has something."""
        ...

    def stop(self, timeout_s: float = 3.0) -> None:
        """Send what was handed over, disconnect without the will, and end."""
        ...
