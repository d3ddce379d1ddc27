"""What a gate says of a wave. Values only."""

from dataclasses import dataclass
from enum import StrEnum


class Mark(StrEnum):
    """`bad` stops the rollout, `good` lets it pass; `open` is too little to say."""

    GOOD = "good"
    OPEN = "open"
    BAD = "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """A gate's answer, with the figures it stands on.

    `low` and `high` bound the value with the plan's confidence at every look together; `detectable` is the smallest
    regression that this much data finds in 95 of 100 cases; `evidence` of 1 is where a gate becomes bad.
    """

    gate: str
    mark: Mark
    text: str
    value: float | None = None
    high: float | None = None
    limit: float | None = None
    evidence: float | None = None
    detectable: float | None = None
    devices: int = 0
    samples: int = 0
