"""k-means of numbers: sorted once, every round of Lloyd's costs as many steps as there are centres."""

from dataclasses import dataclass

import numpy as np

from edgekit_converters.grids.base import Reals

_ROUNDS = 100


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Sorted:
    """Values in order, and sums over the first of them: of their weights, weighted values and weighted squares."""

    values: Reals
    mass: Reals
    sums: Reals
    squares: Reals


def centres(values: Reals, count: int, rng: np.random.Generator, weights: Reals | None = None) -> Reals:
    """Return `count` sorted centres of values [n], so that the squared distance to the nearest one is small.

    Lloyd's algorithm from evenly spaced values, from quantiles and from random values; the best end is taken.
    Fewer distinct values than centres are all found, and fill up with the largest. `weights` [n] say how much a value's
    distance counts; above 0.
    """
    order = np.argsort(values, kind="stable")
    ordered, each = values[order], np.ones(len(values)) if weights is None else weights[order]
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        return np.concatenate([distinct, np.full(count - len(distinct), distinct[-1])])
    mass, sums, squares = (np.concatenate([[0.0], np.cumsum(each * ordered**power)]) for power in range(3))
    every = _Sorted(values=ordered, mass=mass, sums=sums, squares=squares)
    starts = (
        np.linspace(ordered[0], ordered[-1], count),
        np.quantile(distinct, (np.arange(count) + 0.5) / count),
        np.sort(rng.choice(distinct, count, replace=False)),
    )
    ends = [_lloyd(every, start) for start in starts]
    return min(ends, key=lambda end: _cost(every, end))


def _lloyd(every: _Sorted, start: Reals) -> Reals:
    found = start
    for _ in range(_ROUNDS):
        edges = _edges(every, found)
        mass = np.diff(every.mass[edges])
        means = np.diff(every.sums[edges]) / np.where(mass > 0, mass, 1.0)
        moved = np.sort(np.where(mass > 0, means, found))  # a centre of nothing stays
        if np.array_equal(moved, found):
            break
        found = moved
    return found


def _edges(every: _Sorted, found: Reals) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return where each centre's values begin among the sorted ones, and where the last one's end."""
    inner = np.searchsorted(every.values, (found[1:] + found[:-1]) / 2)
    return np.concatenate([[0], inner, [len(every.values)]])


def _cost(every: _Sorted, found: Reals) -> float:
    edges = _edges(every, found)
    mass, sums, squares = (np.diff(one[edges]) for one in (every.mass, every.sums, every.squares))
    # the sum of w (x - c)^2 is that of w x^2 less 2c times that of w x, plus c^2 times that of w
    return float(np.sum(squares - 2 * found * sums + mass * found**2))
