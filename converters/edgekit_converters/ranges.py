"""Ranges of values for static quantization, from calibration: which part of what was seen the grid is spread over.

`min-max` takes all of it. The others cut rare values off so that the rest is stored more finely: `moving-average`
(TensorFlow's: the runs' own limits, smoothed), `percentile`, `mse` (the cut with the least squared error) and `entropy`
(the least Kullback-Leibler divergence between what was seen and what is stored: S. Migacz, "8-bit Inference with
TensorRT", 2017). The last three need a second pass that counts values in bins.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping
from functools import partial

import numpy as np
import numpy.typing as npt

from edgekit_converters.model import Array

Reals = npt.NDArray[np.float64]
Range = tuple[float, float]

BINS = 2048
SMOOTHING = 0.95
"""Weight of what was seen before, in `moving-average`."""
_MOST_VALUES = 1 << 16  # counted of one value in one run: enough for its shape, and a run stays cheap
_NO_SHARE = np.float32(20)
"""Softmax gives a score so far below the largest one e^-20: less than any grid's half step."""
_LARGEST = 3e38  # float32's masks stand above it and are no values to be stored


class Ranges:
    """The ranges of many values at once; keys are the caller's.

    `look` at every run first; then, where `counts` says so, `count` every run again; then ask for what was `found`.
    """

    def __init__(self, method: str, percentile: float = 99.99) -> None:
        """Take one of `METHODS`; `percentile` is the share in percent that stays inside, for that method."""
        self.method, self._percentile = method, percentile
        self.counts = method in _CUTS
        self._limits: dict[Hashable, Range] = {}
        self._histograms: dict[Hashable, Reals] = {}
        self._rng = np.random.default_rng(0)

    def look(self, values: Mapping[Hashable, Array]) -> None:
        """Take one run's values [...] of any shape."""
        for key, array in values.items():
            usable = array[np.abs(array) < _LARGEST]
            if not usable.size:
                continue
            low, high = float(usable.min()), float(usable.max())
            old = self._limits.get(key)
            if old is None:
                self._limits[key] = (low, high)
            elif self.method == "moving-average":
                self._limits[key] = tuple(
                    SMOOTHING * before + (1 - SMOOTHING) * now for before, now in zip(old, (low, high), strict=True)
                )  # type: ignore[assignment]  # two of them
            else:
                self._limits[key] = (min(low, old[0]), max(high, old[1]))

    def count(self, values: Mapping[Hashable, Array]) -> None:
        """Take one run's values again, to count them in bins between their limits."""
        for key, array in values.items():
            if key not in self._limits:
                continue
            flat = np.asarray(array[np.abs(array) < _LARGEST], dtype=np.float64)
            if len(flat) > _MOST_VALUES:  # at random: every n-th would be the same channels again and again
                flat = flat[self._rng.integers(0, len(flat), _MOST_VALUES)]
            counted, _ = np.histogram(flat, BINS, self._spread(key))
            self._histograms[key] = self._histograms.get(key, np.zeros(BINS)) + counted

    def found(self, levels: int = 256) -> dict[Hashable, Range]:
        """Return (low, high) by key, 0 always inside, for a grid of so many levels."""
        return {key: self._one(key, levels) for key in self._limits if not self.counts or key in self._histograms}

    def _one(self, key: Hashable, levels: int) -> Range:
        limits, cut = self._spread(key), _CUTS.get(self.method)
        if cut is None or limits[0] == limits[1]:
            return limits
        return cut(self._histograms[key], _centres(limits), levels, self._percentile)

    def _spread(self, key: Hashable) -> Range:
        low, high = self._limits[key]
        return min(low, 0.0), max(high, 0.0)


def observe(ranges: Ranges, runs: Callable[[], Iterable[Mapping[Hashable, Array]]]) -> Ranges:
    """Take all runs, a second time where the method needs it, and return the ranges."""
    for values in runs():
        ranges.look(values)
    if ranges.counts:
        for values in runs():
            ranges.count(values)
    return ranges


def unmasked(scores: Array, axis: int = -1) -> Array:
    """Raise what Softmax over `axis` makes 0 of, a mask's -10000, so that a grid is spread over what counts."""
    return np.maximum(scores, scores.max(axis=axis, keepdims=True) - _NO_SHARE)  # type: ignore[no-any-return]  # float32


def _centres(limits: Range) -> Reals:
    edges = np.linspace(*limits, BINS + 1)
    return np.asarray((edges[1:] + edges[:-1]) / 2)


def _percentile(counts: Reals, centres: Reals, _levels: int, percent: float) -> Range:
    """Cut half of what is left over at each end."""
    share = np.cumsum(counts) / counts.sum()
    outside = (1 - percent / 100) / 2
    low = centres[min(int(np.searchsorted(share, outside)), BINS - 1)]
    high = centres[min(int(np.searchsorted(share, 1 - outside)), BINS - 1)]
    return min(float(low), 0.0), max(float(high), 0.0)


_MOST_LOSS = 8.0
"""The squared error `entropy` may take, as a multiple of that of all values inside: 9 dB."""
_STEPS = np.linspace(1.0, 0.02, 50)


def _mse(counts: Reals, centres: Reals, levels: int, _percent: float) -> Range:
    """Shrink both ends together, then each alone, to where the squared error is least."""
    low, high = min(float(centres[0]), 0.0), max(float(centres[-1]), 0.0)
    error = partial(_squared_error, counts, centres, levels)
    low, high = min(((share * low, share * high) for share in _STEPS), key=error)
    low = min((share * low for share in _STEPS), key=lambda one: error((one, high)))
    return low, min((share * high for share in _STEPS), key=lambda one: error((low, one)))


def _squared_error(counts: Reals, centres: Reals, levels: int, limits: Range) -> float:
    step = (limits[1] - limits[0]) / (levels - 1)
    if step <= 0:
        return np.inf
    kept = counts > 0
    stored = np.clip(np.rint(centres[kept] / step) * step, *limits)
    return float(counts[kept] @ (centres[kept] - stored) ** 2)


def _entropy(counts: Reals, centres: Reals, levels: int, _percent: float) -> Range:
    """Cut magnitudes where the stored distribution tells least apart from the one seen.

    A cut that costs far more than the grid's steps is none: of few values far out, divergence sees only how few.
    """
    low, high = min(float(centres[0]), 0.0), max(float(centres[-1]), 0.0)
    edge = max(-low, high)
    magnitudes, _ = np.histogram(np.abs(centres), BINS, (0.0, edge), weights=counts)
    magnitudes[0] = magnitudes[1]  # every grid stores 0 exactly, and ReLU's heap of it would hide the rest
    # both signs share the levels; values of one sign have them all
    kept = min(levels // 2 if low < 0 < high else levels, BINS)
    places = range(kept, BINS + 1, max(1, (BINS - kept) // 128))

    def limits(place: int) -> Range:
        return max(low, -edge * place / BINS), min(high, edge * place / BINS)

    most = _MOST_LOSS * _squared_error(counts, centres, levels, (low, high))
    worth = [one for one in places if _squared_error(counts, centres, levels, limits(one)) <= most]
    return limits(min(worth or [BINS], key=lambda place: _divergence(magnitudes, place, kept)))


def _divergence(counts: Reals, place: int, levels: int) -> float:
    seen = counts[:place].copy()
    stored = np.zeros(place)
    groups = np.arange(place) * levels // place
    filled = seen > 0
    sums = np.bincount(groups, seen, levels)
    places = np.bincount(groups, filled, levels)
    stored[filled] = (sums / np.maximum(places, 1))[groups[filled]]
    seen[-1] += counts[place:].sum()  # what is cut off is stored as the largest
    p, q = seen / seen.sum(), stored / max(stored.sum(), 1e-30)
    both = p > 0
    return float(np.sum(p[both] * np.log(p[both] / np.maximum(q[both], 1e-12))))


_CUTS: Mapping[str, Callable[[Reals, Reals, int, float], Range]] = {
    "percentile": _percentile,
    "mse": _mse,
    "entropy": _entropy,
}
METHODS = ("min-max", "moving-average", *_CUTS)
"""The first one is the default."""
