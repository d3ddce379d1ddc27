"""The presence of one device, by what it has said."""

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from edgekit.fleet.presence.deadline import DEFAULT_BEAT_S, Deadline

TWICE_S = 300.0
"""How long after two agents of one name have taken turns it is still told."""
SEEN_S, LATE_S = 2.0, 30.0
"""A report is seen once it is stored.

What was sent before a will or a goodbye may come so long after it: reports have another way, and it may be full.
"""
_BOOTS = 8


class Presence(StrEnum):
    """How a device is."""

    ONLINE = "online"
    STALE = "stale"
    OFFLINE = "offline"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


class Cause(StrEnum):
    """Why it is taken for that."""

    HEARD = "heard"
    CLEAN_STOP = "clean-stop"
    CONNECTION_LOST = "connection-lost"
    SILENT = "silent"
    DUPLICATE_ID = "duplicate-id"
    BROKER_RESTART = "broker-restart"
    NEVER_SEEN = "never-seen"


class Connection(Protocol):
    """Which connection of a device it is about, and how that ends."""

    @property
    def birth(self) -> int | None:
        """The number of the connection."""
        ...

    @property
    def boot(self) -> str | None:
        """The id of the agent's process."""
        ...

    @property
    def heartbeat_s(self) -> float | None:
        """Seconds between two of these messages."""
        ...

    @property
    def why(self) -> str | None:
        """`stop` when it said goodbye."""
        ...


class Told(Connection, Protocol):
    """What a state message says, of whichever decoder."""

    @property
    def state(self) -> str:
        """`online` or `offline`."""
        ...


class Remembered(Connection, Protocol):
    """What a store remembers of a device: its last connection."""

    @property
    def presence(self) -> str:
        """What was concluded."""
        ...


@dataclass(frozen=True, slots=True)
class Verdict:
    """How a device is, why, and since when on the caller's clock, in seconds."""

    presence: Presence
    cause: Cause
    since_s: float


@dataclass(slots=True)
class Device:
    """What is known of one device."""

    verdict: Verdict
    heard_s: float
    birth: int | None = None
    boot: str | None = None
    heartbeat_s: float = DEFAULT_BEAT_S
    spoken: bool = False
    """Whether it has told its state at all."""
    deadline: Deadline = field(default_factory=Deadline)
    boots: deque[tuple[str, float]] = field(default_factory=lambda: deque(maxlen=_BOOTS))
    twice_until_s: float = 0.0
    watched: bool = False
    deaf_s: float = 0.0
    """How long the host had heard nobody, all in all, when this one was heard last."""
    _beat_s: float | None = None

    @property
    def due_s(self) -> float:
        """When it is taken for dead if nothing comes."""
        return self.heard_s + self.deadline.seconds(self.heartbeat_s)

    def told_since(self, at_s: float) -> bool:
        """Whether it has told its state itself since a moment, so that the will of that connection is its own."""
        return self._beat_s is not None and self._beat_s > at_s

    def says_nothing(self, told: Told) -> bool:
        """Whether an `offline` is the will of another connection, or of one that has said goodbye."""
        if told.state == "online" or not self.spoken:
            return False
        same = (told.birth, told.boot) == (self.birth, self.boot)
        if self.verdict.presence is Presence.STOPPED:
            return same and told.why is None
        if self.verdict.presence is Presence.OFFLINE and self.verdict.cause is Cause.CONNECTION_LOST:
            return same
        return not same

    def born(self, told: Told, now_s: float, *, retained: bool) -> None:
        """Take in an `online`: a birth or a heartbeat."""
        if told.boot is not None and told.boot != self.boot:
            self._another_boot(told.boot, now_s)
        if (told.birth, told.boot) == (self.birth, self.boot) and self._beat_s is not None and not retained:
            self.deadline.beat(now_s - self._beat_s, self.heartbeat_s)
        self.birth, self.boot, self.spoken = told.birth, told.boot, True
        self.heartbeat_s = told.heartbeat_s or DEFAULT_BEAT_S
        self.heard_s = now_s
        # the broker tells of a retained one that it was said, not when
        self._beat_s = None if retained else now_s

    def _another_boot(self, boot: str, now_s: float) -> None:
        """Notice two agents of one name: a boot that comes back after another was there."""
        if any(one == boot and now_s - at_s < TWICE_S for one, at_s in self.boots):
            self.twice_until_s = now_s + TWICE_S
        if self.boot is not None:
            self.boots.append((self.boot, now_s))

    def online_cause(self, now_s: float) -> Cause:
        """Return why it is online."""
        return Cause.DUPLICATE_ID if now_s < self.twice_until_s else Cause.HEARD
