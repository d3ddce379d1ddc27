"""Which layers to leave in float so that a quantized model passes its gate: few models made, few layers left.

Layers are ranked by the damage they do alone. From the worst down, so many are left in float that the gate is passed:
1, 2, 4 ... until it is, then bisection to the fewest. What then need not be in float after all is put back: halves,
quarters, single layers (delta debugging, A. Zeller 2002). The same for every target; it knows of models only through
`Attempt`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum

MOST_TRIALS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is left in float together: `layers` are names the backend knows, `damage` what it costs quantized."""

    name: str
    damage: float
    layers: tuple[str, ...]


class Verdict(Enum):
    """What may come of an attempt; `TOO_MUCH` is a model with so much in float that it is no quantized one any more."""

    PASSES, LOSES, TOO_MUCH = range(3)


Attempt = Callable[[Sequence[str], str], Verdict]
"""Make a model with these layers in float, for the reason given, and say what came of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """`layers` of the best that passed, None where none did; `ended` is found, budget (time is over) or exhausted."""

    layers: tuple[str, ...] | None
    ended: str


class Budget:
    """How long a search may go on: at most so many trials, and so many seconds from its making where given."""

    def __init__(self, trials: int = MOST_TRIALS, seconds: float | None = None) -> None:
        """Start the clock."""
        self._left, self._end = trials, None if seconds is None else time.monotonic() + seconds

    @property
    def over(self) -> bool:
        """Whether no further trial may be made."""
        return self._left <= 0 or self.late

    @property
    def late(self) -> bool:
        """Whether the time is over: more of it would let the search go on."""
        return self._end is not None and time.monotonic() >= self._end

    @property
    def ended(self) -> str:
        """How a search ends that may not go on."""
        return "budget" if self.late else "exhausted"

    def spend(self) -> None:
        """Count one trial."""
        self._left -= 1


class _OverError(Exception):
    """The budget is spent."""


def search(units: Sequence[Unit], attempt: Attempt, budget: Budget) -> Outcome:
    """Find few layers to leave in float; that none at all in float does not pass is known."""
    ranked = sorted(units, key=lambda one: -one.damage)
    tried = _Tried(attempt, budget)
    try:
        count = _fewest(ranked, tried)
        if count is None:
            return Outcome(layers=None, ended="exhausted")
        _minimise(_together(ranked[:count]), tried)
    except _OverError:
        return Outcome(layers=tried.best, ended="found" if tried.best and not budget.late else budget.ended)
    return Outcome(layers=tried.best, ended="found")


class _Tried:
    """Attempts, none made twice; `best` is the passing one with the fewest layers."""

    def __init__(self, attempt: Attempt, budget: Budget) -> None:
        self._attempt, self._budget = attempt, budget
        self._known = {frozenset[str](): Verdict.LOSES}
        self.best: tuple[str, ...] | None = None

    def passes(self, layers: Sequence[str], why: str) -> bool:
        return self.verdict(layers, why) is Verdict.PASSES

    def verdict(self, layers: Sequence[str], why: str) -> Verdict:
        key = frozenset(layers)
        if key not in self._known:
            if self._budget.over:
                raise _OverError
            self._budget.spend()
            self._known[key] = self._attempt(layers, why)
            if self._known[key] is Verdict.PASSES and (self.best is None or len(layers) < len(self.best)):
                self.best = tuple(layers)
        return self._known[key]


def _together(units: Iterable[Unit]) -> list[str]:
    return list(dict.fromkeys(layer for unit in units for layer in unit.layers))


def _fewest(ranked: Sequence[Unit], tried: _Tried) -> int | None:
    """Return how many of the worst units must be in float; None where none of the numbers tried passes."""

    def verdict(count: int) -> Verdict:
        return tried.verdict(_together(ranked[:count]), f"the {count} worst in float")

    low, high = 0, min(1, len(ranked))
    while (last := verdict(high)) is Verdict.LOSES:
        if high >= len(ranked):
            return None
        low, high = high, min(2 * high, len(ranked))
    passing = high if last is Verdict.PASSES else None
    while high - low > 1:
        middle = (low + high) // 2
        last = verdict(middle)
        if last is Verdict.LOSES:
            low = middle
        else:
            high = middle
            passing = middle if last is Verdict.PASSES else passing
    return passing


def _minimise(layers: Sequence[str], tried: _Tried) -> None:
    """Put back what need not be in float, the least damaging first: they stand last."""
    kept, size = list(layers), (len(layers) + 1) // 2
    while size:
        at = len(kept)
        while at > 0:
            part = kept[max(0, at - size) : at]
            rest = [one for one in kept if one not in set(part)]
            if rest and tried.passes(rest, f"{len(part)} of {len(kept)} quantized again"):
                kept = rest
            at -= size
        size //= 2
