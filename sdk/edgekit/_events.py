"""Progress of long work, as a callback gets it; the library itself prints nothing."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A stage that begins or goes on: `done` of `total` where that is known."""

    stage: str
    detail: str = ""
    done: int | None = None
    total: int | None = None


OnEvent = Callable[[Event], None]


def ignore(_event: Event) -> None:
    """Take an event and do nothing."""
