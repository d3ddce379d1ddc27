"""k-means of numbers: sorted once, every round of Lloyd's costs as many steps as there are centres."""

import numpy as np

from edgekit_converters.grids.base import Reals

_ROUNDS = 100


def centres(values: Reals, count: int, rng: np.random.Generator) -> Reals:
    """Return `count` sorted centres of values [n], so that the squared distance to the nearest one is small.

    Lloyd's algorithm from evenly spaced values, from quantiles and from random values; the best end is taken.
    Fewer distinct values than centres are all found, and fill up with the largest.
    """
    ordered = np.sort(values)
    distinct = np.unique(ordered)
    if len(distinct) <= count:
        return np.concatenate([distinct, np.full(count - len(distinct), distinct[-1])])
    sums = np.concatenate([[0.0], np.cumsum(ordered)])
    squares = np.concatenate([[0.0], np.cumsum(ordered**2)])
    starts = (
        np.linspace(ordered[0], ordered[-1], count),
        np.quantile(distinct, (np.arange(count) + 0.5) / count),
        np.sort(rng.choice(distinct, count, replace=False)),
    )
    ends = [_lloyd(ordered, sums, start) for start in starts]
    return min(ends, key=lambda end: _cost(ordered, sums, squares, end))


def _lloyd(ordered: Reals, sums: Reals, start: Reals) -> Reals:
    found = start
    for _ in range(_ROUNDS):
        edges = _edges(ordered, found)
        sizes = np.diff(edges)
        means = np.diff(sums[edges]) / np.maximum(sizes, 1)
        moved = np.sort(np.where(sizes > 0, means, found))  # a centre of nothing stays
        if np.array_equal(moved, found):
            break
        found = moved
    return found


def _edges(ordered: Reals, found: Reals) -> np.ndarray[tuple[int], np.dtype[np.intp]]:
    """Return where each centre's values begin among the sorted ones, and where the last one's end."""
    inner = np.searchsorted(ordered, (found[1:] + found[:-1]) / 2)
    return np.concatenate([[0], inner, [len(ordered)]])


def _cost(ordered: Reals, sums: Reals, squares: Reals, found: Reals) -> float:
    edges = _edges(ordered, found)
    # the sum of (x - c)^2 is that of x^2 less 2c times that of x, plus n c^2
    return float(np.sum(np.diff(squares[edges]) - 2 * found * np.diff(sums[edges]) + np.diff(edges) * found**2))
