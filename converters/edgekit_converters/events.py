"""Progress of a conversion, as the caller's callback gets it."""

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """A stage that begins: `done` of `total` steps are behind it."""

    stage: str
    detail: str = ""
    done: int = 0
    total: int = 0


OnEvent = Callable[[Event], None]
