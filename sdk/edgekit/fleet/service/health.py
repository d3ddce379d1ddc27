"""What runs, since when, and what is wrong: for `/healthz` and the log."""

import logging
import time
from dataclasses import dataclass, field

_log = logging.getLogger(__name__)


_BEGINS = "is starting"


@dataclass(slots=True, kw_only=True)
class PartHealth:
    """One part of the service; `trouble` is a sentence, None when it is well."""

    trouble: str | None = None
    restarts: int = 0
    since_s: float = field(default_factory=time.time)


class Health:
    """The health of all parts, by name."""

    def __init__(self) -> None:
        """Know of no part."""
        self.parts: dict[str, PartHealth] = {}

    @property
    def well(self) -> bool:
        """Whether no part has trouble."""
        return all(part.trouble is None for part in self.parts.values())

    def part(self, name: str) -> PartHealth:
        """Return a part's health, new when it is asked for the first time."""
        return self.parts.setdefault(name, PartHealth())

    def begins(self, name: str) -> None:
        """Note that a part is not well yet, without a word in the log."""
        self.part(name).trouble = _BEGINS

    def says(self, name: str, trouble: str | None) -> None:
        """Note a part's trouble, or that it has none any more; what is new is logged once."""
        part = self.part(name)
        if part.trouble == trouble:
            return
        begun, part.trouble, part.since_s = part.trouble == _BEGINS, trouble, time.time()
        if begun and trouble is None:
            return
        if trouble is None:
            _log.warning("%s: well again", name)
        else:
            _log.warning("%s: %s", name, trouble)

    def to_json(self) -> dict[str, object]:
        """Return a document of all parts."""
        return {
            name: {"trouble": part.trouble, "restarts": part.restarts, "since_ms": int(1000 * part.since_s)}
            for name, part in self.parts.items()
        }
