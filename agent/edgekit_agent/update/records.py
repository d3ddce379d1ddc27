"""What is known about updates over restarts: one document, `state.json`, replaced whole at every step."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from types import MappingProxyType

from edgekit_agent.protocol import Message

SCHEMA = 1
SLOTS = ("a", "b")


class Phase(StrEnum):
    """Where an update is. Each is written to the disk before what it stands for is done."""

    ANNOUNCED = "announced"
    CHECKING = "checking"
    DOWNLOADING = "downloading"
    VERIFYING = "verifying"
    STAGED = "staged"
    TRIAL = "trial"
    COMMITTED = "committed"
    CLEANUP = "cleanup"
    ROLLING_BACK = "rolling_back"
    REJECTED = "rejected"
    FAILED = "failed"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class Installed(Message):
    """A release in a slot."""

    slot: str
    version: str
    sha256: str
    counter: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted(Message):
    """What was announced for a model, in which version of the desired state.

    With `lease_s` the host is asked for leave; `back` means the release from before, which is on the disk.
    """

    v: int
    version: str
    target: str | None = None
    repository: str | None = None
    sha256: str | None = None
    lease_s: float | None = None
    back: bool | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Update(Message):
    """An update on its way.

    `attempts` counts the process starts in this phase, `writes` the durable writes of the whole update; neither
    believes a clock. `sha256` and `counter` are known from the check on, `slot` from the verification on.
    """

    wanted: Wanted
    phase: str
    attempts: int = 1
    writes: int = 1
    sha256: str | None = None
    counter: int = 0
    slot: str | None = None
    reason: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)

    def at(self, phase: Phase, **changes: object) -> "Update":
        """Return it in another phase."""
        return replace(self, phase=phase.value, attempts=1, writes=self.writes + 1, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome(Message):
    """How the last update ended."""

    v: int
    version: str
    phase: str
    sha256: str | None = None
    reason: str | None = None
    detail: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Record(Message):
    """A model: what serves, what served before and is never removed before its successor is proved, what comes.

    Without `current` the model of the configuration serves. `left` is the digest of a release that the host had the
    device go back from.
    """

    current: Installed | None = None
    previous: Installed | None = None
    wanted: Wanted | None = None
    update: Update | None = None
    outcome: Outcome | None = None
    left: str | None = None

    def free_slot(self) -> str:
        """Return the slot that a new release may be put into: never that of the one that serves."""
        return SLOTS[0] if self.current is None or self.current.slot != SLOTS[0] else SLOTS[1]


@dataclass(frozen=True, slots=True, kw_only=True)
class Records(Message):
    """All of it; `v` is the newest version of the desired state that was seen."""

    schema: int = SCHEMA
    v: int = 0
    models: Mapping[str, Record] = field(default_factory=dict)

    def of(self, name: str) -> Record:
        """Return a model's record, an empty one where there is none."""
        return self.models.get(name) or Record()

    def having(self, name: str, record: Record) -> "Records":
        """Return them with a model's record in place of the one before."""
        return replace(self, models=MappingProxyType({**self.models, name: record}))
