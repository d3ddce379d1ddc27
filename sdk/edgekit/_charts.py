"""Scales, ticks and outlines of charts: pure geometry, in percent of the axis; the templates draw it."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

LOG_FROM = 6.0
"""Values further apart than this ratio get a logarithmic axis."""

_STEPS = (1.0, 2.0, 2.5, 5.0, 10.0)
_FAR_OUT = 2.0  # spans of what counts beyond which a value is drawn at the edge


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis from `low` to `high`; places are percent of its length, from the left or the bottom."""

    low: float
    high: float
    log: bool = False

    def at(self, value: float) -> float:
        """Return the place of a value; what lies outside is put at the edge."""
        low, high = self._along(self.low), self._along(self.high)
        share = (self._along(value) - low) / (high - low)
        return round(100 * min(1.0, max(0.0, share)), 3)

    def holds(self, value: float) -> bool:
        """Return whether a value lies on the axis."""
        return self.low <= value <= self.high

    def ticks(self, count: int) -> list[float]:
        """Return about `count` round values on the axis, in order; at least one."""
        found = _log_ticks(self.low, self.high, count) if self.log else []
        return found if len(found) > 1 else linear_ticks(self.low, self.high, count)

    def _along(self, value: float) -> float:
        if not self.log:
            return value
        return math.log(value) if value > 0 else -math.inf


def linear(values: Iterable[float], *, pad: float = 0.06, zero: bool = False, least: float = 0.0) -> Scale:
    """Return an axis that holds all values with room at both ends.

    Args:
        values: what is drawn; none at all gives 0 to 1.
        pad: the room, as a share of the span.
        zero: whether the axis starts at 0 (values are not negative then).
        least: the smallest span, so that noise does not look like a difference.
    """
    known = list(values)
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    if zero:
        return Scale(low=0.0, high=high * (1 + pad) or 1.0)
    least = max(least, 1e-6 * max(abs(low), abs(high))) or 1.0
    if high - low < least:
        middle = (low + high) / 2
        low, high = middle - least / 2, middle + least / 2
    room = pad * (high - low)
    return Scale(low=low - room, high=high + room)


def from_zero_or_log(values: Sequence[float], *, pad: float = 0.06) -> Scale:
    """Return an axis from zero, or a logarithmic one where positive values are many times one another."""
    positive = [value for value in values if value > 0]
    if positive and max(positive) > LOG_FROM * min(positive):
        room = (max(positive) / min(positive)) ** pad
        return Scale(low=min(positive) / room, high=max(positive) * room, log=True)
    return linear(positive, pad=pad, zero=True)


def with_outliers(core: Sequence[float], others: Sequence[float], *, least: float = 0.0, pad: float = 0.06) -> Scale:
    """Return an axis for what counts; others widen it, but not so far that what counts becomes a dot."""
    if not core:
        return linear(others, least=least, pad=pad)
    low, high = min(core), max(core)
    reach = _FAR_OUT * max(high - low, least)
    near = [value for value in others if low - reach <= value <= high + reach]
    return linear([*core, *near], least=least, pad=pad)


def linear_ticks(low: float, high: float, count: int) -> list[float]:
    """Return about `count` multiples of a round step (1, 2, 2.5 or 5 times a power of ten) from low to high."""
    rough = (high - low) / max(1, count)
    power = 10.0 ** math.floor(math.log10(rough))
    step = next(one * power for one in _STEPS if one * power >= 0.7 * rough)
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    # a division by a whole number keeps 0.3 from becoming 0.30000000000000004
    inverse = round(1 / step) if step < 1 and math.isclose(1 / step, round(1 / step), rel_tol=1e-9) else None
    return [one / inverse if inverse else one * step for one in range(first, last + 1)]


def _log_ticks(low: float, high: float, count: int) -> list[float]:
    """Return values 1, 2, 5 a decade; fewer a decade, or not every decade, where that is too many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps, every in (((1, 2, 5), 1), ((1, 3), 1), ((1,), 1), ((1,), 2), ((1,), 3), ((1,), 6)):
        found = [float(f"{step}e{decade}") for decade in decades[::every] for step in steps]
        found = [value for value in found if low <= value <= high]
        if len(found) <= count + 1:
            return found
    return []


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Return ticks as text, with as many digits as tell neighbours apart."""
    if not ticks:
        return []
    steps = np.diff(ticks)
    if len(ticks) < 2 or not np.allclose(steps, steps[0]):  # noqa: PLR2004  # unequal steps: a logarithmic axis
        return [f"{tick:,.10g}" if 1e-4 <= abs(tick) < 1e7 or tick == 0 else f"{tick:.0e}" for tick in ticks]  # noqa: PLR2004
    largest, step = max(abs(tick) for tick in ticks), float(steps[0])
    if largest >= 1e7 or largest < 1e-4:  # noqa: PLR2004
        return [f"{tick:.{max(0, round(math.log10(largest / step)) + 1)}e}" for tick in ticks]
    digits = next(count for count in range(12) if math.isclose(round(step, count), step, rel_tol=1e-6))
    return [f"{tick:,.{digits}f}" for tick in ticks]


def pareto_front(points: Sequence[tuple[float, float]]) -> list[int]:
    """Return which (cost, quality) no other point beats in both, by rising cost; of equal points the first."""
    order = sorted(range(len(points)), key=lambda at: (points[at][0], -points[at][1], at))
    front: list[int] = []
    for at in order:
        if not front or points[at][1] > points[front[-1]][1]:
            front.append(at)
    return front


def outline(quantiles: Sequence[float], scale: Scale, *, cells: int = 96) -> list[tuple[float, float]]:
    """Return a distribution's density as (place, height 0 to 1), from its 1st to its 99th percentile.

    A Gaussian kernel over the percentiles on the scale's own axis, its width by Silverman's rule (B. W. Silverman,
    Density Estimation, 1986, eq. 3.31), with a floor of a third of a percent of the axis for a shape that can be seen.
    """
    places = np.array([scale.at(value) for value in quantiles[1:-1]])
    spread = min(float(np.std(places)), float(np.subtract(*np.quantile(places, [0.75, 0.25]))) / 1.34)
    width = max(0.9 * spread * len(places) ** -0.2, 0.3)
    grid = np.linspace(max(0.0, places[0] - width), min(100.0, places[-1] + width), cells)
    density = np.exp(-0.5 * ((grid[:, None] - places) / width) ** 2).sum(axis=1)
    heights = density / density.max()
    return [(round(float(x), 3), round(float(y), 4)) for x, y in zip(grid, heights, strict=True)]
