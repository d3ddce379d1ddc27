"""What the agent's rules answer: actions, for the service to carry out. Values only: no I/O and no clock."""

from collections.abc import Mapping
from dataclasses import dataclass

from edgekit_agent.config import ModelConfig
from edgekit_agent.protocol import Event, Kind, Message, Reason, Report, sentence


@dataclass(frozen=True, slots=True, kw_only=True)
class Now:
    """A moment: `s` on the steady clock decides, `ms` since 1970 is for people."""

    s: float
    ms: int


@dataclass(frozen=True, slots=True, order=True)
class WorkerId:
    """Which process: the `number`th (from 0) of a crew, which is a release of a model that was put to work.

    `release` counts what this agent process has put to work, so that one that ends and its successor are never the
    same, whatever their versions.
    """

    model: str
    release: int
    number: int = 0

    def __str__(self) -> str:
        """Return it for the log."""
        return f"{self.model}/{self.release}/{self.number}"


@dataclass(frozen=True, slots=True)
class StartWorker:
    """Start a process for a model; with `prove` it has to show that it works before it serves."""

    worker: WorkerId
    model: ModelConfig
    prove: bool = False


@dataclass(frozen=True, slots=True)
class EndWorker:
    """Tell a process to take nothing new, finish what it has, and end."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class ShareWork:
    """Tell a process to leave some of its applications to others that serve the same model."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class KillWorker:
    """End a process at once: it does not answer."""

    worker: WorkerId


@dataclass(frozen=True, slots=True)
class Send:
    """Publish now, if connected; a message that is not retained and not sent is lost."""

    kind: Kind
    message: Message
    retained: bool = False


@dataclass(frozen=True, slots=True)
class Queue:
    """Put a report into the spool."""

    report: Report


Action = StartWorker | EndWorker | ShareWork | KillWorker | Send | Queue


class Teller:
    """Words the events and numbers the reports of one agent process."""

    def __init__(self, boot: str) -> None:
        """Take the process's random id."""
        self.boot = boot
        self._seq = 0

    def number(self) -> int:
        """Return the next report's number."""
        self._seq += 1
        return self._seq

    def event(
        self, level: str, code: Reason, now: Now, model: str | None = None, detail: Mapping[str, object] | None = None
    ) -> Send:
        """Return the action that tells an event."""
        event = Event(
            ts_ms=now.ms,
            level=level,
            code=code.value,
            text=sentence(code),
            model=model,
            boot=self.boot,
            detail=dict(detail or {}),
        )
        return Send(Kind.EVENT, event)
