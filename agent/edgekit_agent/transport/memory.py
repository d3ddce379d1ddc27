"""A broker and its transports within one process, with faults on demand: for tests and trials."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from edgekit_agent.protocol import matches
from edgekit_agent.transport._mailbox import Mailbox
from edgekit_agent.transport.base import Connected, Disconnected, Received, Taken, TransportEvent, Will


@dataclass(slots=True)
class MemoryBroker:
    """Keeps every message it takes; `up` and `drop_next` are the faults."""

    up: bool = True
    drop_next: int = 0
    messages: list[tuple[str, bytes]] = field(default_factory=list)
    retained: dict[str, bytes] = field(default_factory=dict)
    listeners: int = 1
    _transports: "list[MemoryTransport]" = field(default_factory=list)

    def take(self, topic: str, payload: bytes, *, retain: bool) -> None:
        """Take a message."""
        if retain:
            self.retained[topic] = payload
        self.messages.append((topic, payload))
        for transport in self._transports:
            transport.deliver(topic, payload)

    def go_down(self) -> None:
        """Lose every connection, and publish the wills."""
        self.up = False
        for transport in self._transports:
            transport.cut()

    def come_up(self) -> None:
        """Take connections again."""
        self.up = True
        for transport in self._transports:
            transport.connect()

    def join(self, transport: "MemoryTransport") -> None:
        """Remember a transport."""
        self._transports.append(transport)


class MemoryTransport:
    """A `Transport` to a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        """Name the broker."""
        self._broker = broker
        self._mailbox = Mailbox()
        self._make_will: Callable[[], Will] | None = None
        self._will: Will | None = None
        self._token = 0
        self._topics: Sequence[str] = ()

    def start(self, will: Callable[[], Will], topics: Sequence[str] = ()) -> None:
        """Connect when the broker is up."""
        self._make_will, self._topics = will, topics
        self._broker.join(self)
        self.connect()

    def connect(self) -> None:
        """Connect, if started and the broker is up."""
        if self._make_will is None or not self._broker.up or self._will is not None:
            return
        self._will = self._make_will()
        self._mailbox.put(Connected(self._will.birth, "memory"))
        for topic, payload in self._broker.retained.items():
            self.deliver(topic, payload)

    def deliver(self, topic: str, payload: bytes) -> None:
        """Take a message from the broker, if connected and subscribed to its topic."""
        if self._will is not None and any(matches(one, topic) for one in self._topics):
            self._mailbox.put(Received(topic, payload))

    def cut(self) -> None:
        """Lose the connection: the broker publishes the will."""
        if self._will is not None:
            self._broker.take(self._will.topic, self._will.payload, retain=True)
            self._will = None
            self._mailbox.put(Disconnected("cut"))

    def publish(self, topic: str, payload: bytes, *, retain: bool = False, expiry_s: int | None = None) -> int | None:  # noqa: ARG002  # the port's arguments
        """Hand a message to the broker; a dropped one is never acknowledged."""
        if self._will is None:
            return None
        self._token += 1
        if self._broker.drop_next:
            self._broker.drop_next -= 1
        else:
            self._broker.take(topic, payload, retain=retain)
            self._mailbox.put(Taken(self._token, heard=self._broker.listeners > 0))
        return self._token

    def poll(self) -> list[TransportEvent]:
        """Return what has happened."""
        return self._mailbox.take()

    @property
    def alive(self) -> bool:
        """It does nothing in the background."""
        return True

    def fileno(self) -> int:
        """Return the descriptor to select on."""
        return self._mailbox.fileno()

    def stop(self, timeout_s: float = 3.0) -> None:  # noqa: ARG002  # the port's arguments
        """Disconnect without the will."""
        self._will = self._make_will = None
        self._mailbox.close()
