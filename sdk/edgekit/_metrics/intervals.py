"""95 % confidence intervals."""

import math
from collections.abc import Callable, Iterator

import numpy as np

from edgekit._metrics.scored import Weights

_Z95 = 1.959963984540054
_SEED = 0


def wilson(successes: int, trials: int) -> tuple[float, float]:
    """Return the 95 % confidence interval of a share (Wilson score interval, E. B. Wilson 1927)."""
    share, z2 = successes / trials, _Z95**2
    middle = (share + z2 / (2 * trials)) / (1 + z2 / trials)
    half = _Z95 / (1 + z2 / trials) * math.sqrt(share * (1 - share) / trials + z2 / (4 * trials**2))
    return max(0.0, middle - half), min(1.0, middle + half)


def bootstrap(of: Callable[[Weights], tuple[float, ...]], samples: int, resamples: int) -> list[tuple[float, float]]:
    """Return the 95 % percentile interval of each of several values that are had from the same samples.

    The samples are drawn again with replacement, `resamples` times from a fixed seed (B. Efron 1979). Draws
    for which a value is not defined (one class is missing) do not count.
    """
    drawn = np.asarray([of(weights) for weights in _weights(samples, resamples)], dtype=np.float64)
    intervals = []
    for column in drawn.T:
        there = column[np.isfinite(column)]
        low, high = np.quantile(there, [0.025, 0.975]) if len(there) else (math.nan, math.nan)
        intervals.append((float(low), float(high)))
    return intervals


def _weights(samples: int, resamples: int) -> Iterator[Weights]:
    rng = np.random.default_rng(_SEED)
    for _ in range(resamples):
        yield np.bincount(rng.integers(0, samples, samples), minlength=samples)
