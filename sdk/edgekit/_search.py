"""Which layers to leave in float so that a quantized model passes its gate: few models made, few layers left.

Layers are ranked by the damage they do alone. From the worst down, so many are left in float that the gate is passed:
1, 2, 4 ... until it is, then bisection to the fewest. What then need not be in float after all is put back: halves,
quarters, single layers (delta debugging, A. Zeller 2002). The same for every target; it knows of models only through
`Attempt`.
"""

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

MOST_TRIALS = 40


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """What is left in float together: `layers` are names the backend knows, `damage` what it costs quantized."""

    name: str
    damage: float
    layers: tuple[str, ...]


Attempt = Callable[[Sequence[str], str], bool]
"""Make a model with these layers in float, for the reason given, and say whether it passes."""


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
        enough = "exhausted" if tried.best is None else "found"
        return Outcome(layers=tried.best, ended="budget" if budget.late else enough)
    return Outcome(layers=tried.best, ended="found")


class _Tried:
    """Attempts, none made twice; `best` is the passing one with the fewest layers."""

    def __init__(self, attempt: Attempt, budget: Budget) -> None:
        self._attempt, self._budget = attempt, budget
        self._known: dict[frozenset[str], bool] = {frozenset(): False}
        self.best: tuple[str, ...] | None = None

    def passes(self, layers: Sequence[str], why: str) -> bool:
        key = frozenset(layers)
        if key not in self._known:
            if self._budget.over:
                raise _OverError
            self._budget.spend()
            self._known[key] = self._attempt(layers, why)
            if self._known[key] and (self.best is None or len(layers) < len(self.best)):
                self.best = tuple(layers)
        return self._known[key]


def _together(units: Iterable[Unit]) -> list[str]:
    return list(dict.fromkeys(layer for unit in units for layer in unit.layers))


def _fewest(ranked: Sequence[Unit], tried: _Tried) -> int | None:
    """Return how many of the worst units must be in float; None where not even all are enough."""
    low, high = 0, 1
    while not tried.passes(_together(ranked[:high]), f"the {high} worst in float"):
        if high >= len(ranked):
            return None
        low, high = high, min(2 * high, len(ranked))
    while high - low > 1:
        middle = (low + high) // 2
        if tried.passes(_together(ranked[:middle]), f"the {middle} worst in float"):
            high = middle
        else:
            low = middle
    return high


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
