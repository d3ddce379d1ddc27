"""How much a device's latency varies by itself: what is learnt of the time before a rollout. Pure: no I/O, no clock.

A device's log-quantile of a window is its usual value + a slow part (first-order autoregression: temperature, load of
other processes) + what is left of one window. Both are estimated from autocovariances of windows before the rollout,
pooled over devices and drawn towards what is usual where little is known.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean, median
from typing import NamedTuple

from edgekit_agent.protocol.histogram import ExpHistogram

LEAST_BEYOND = 3
"""Inferences beyond a quantile that a window needs on average; windows of less are put together."""
CLIP_SD = 4.0
"""A window further off than so many standard deviations counts as that far: a burst is no regression."""
_MAD_TO_SD = 1.4826
_USUAL_PHI, _USUAL_SLOW, _USUAL_QUICK = 0.7, 0.02**2, 0.04**2
_USUAL_WEIGHT = 30.0
"""Windows that what is usual stands for."""
_MOST_PHI, _LEAST_VARIANCE = 0.97, 0.003**2
_LAGS = 4


class Sample(NamedTuple):
    """The log of a quantile of a window (or of several of few inferences) that ended at a time in seconds."""

    at_s: float
    value: float
    n: int


@dataclass(frozen=True, slots=True, eq=False)
class Windowed:
    """A window as a report has it; quantiles are kept, because every look asks for them again."""

    at_s: float
    histogram: ExpHistogram
    _known: dict[float, float] = field(default_factory=dict)

    def log_quantile(self, q: float) -> float:
        """Return the natural log of a quantile."""
        if q not in self._known:
            self._known[q] = log_quantile(self.histogram, q)
        return self._known[q]


@dataclass(frozen=True, slots=True, kw_only=True)
class Noise:
    """Variances of log-quantiles: of the slow part, which fades by `phi` a step, and of one step for itself."""

    phi: float
    slow: float
    quick: float
    step_s: float

    def scaled(self, factor: float) -> "Noise":
        """Return it for a device that varies more, or less."""
        return Noise(phi=self.phi, slow=self.slow * factor, quick=self.quick * factor, step_s=self.step_s)

    @property
    def clip(self) -> float:
        """How far off a window counts at most."""
        return CLIP_SD * math.sqrt(self.slow + self.quick)


def log_quantile(histogram: ExpHistogram, q: float) -> float:
    """Return the natural log of a quantile, log-linear within its bucket; NaN when empty or of zeros only.

    The middle of a bucket (as `ExpHistogram.quantile`) would move in steps of 4.4 %, too coarse to see 10 % by.
    """
    rank = q * histogram.count - histogram.zeros
    seen = 0.0
    for index in sorted(histogram.counts):
        count = histogram.counts[index]
        if seen + count >= rank:
            share = max(0.0, rank - seen) / count
            value = (index + share) * math.exp2(-histogram.scale) * math.log(2)
            return min(max(value, _log(histogram.minimum)), _log(histogram.maximum))
        seen += count
    return math.nan


def _log(value: float) -> float:
    return math.log(value) if value > 0 else -math.inf


def samples_of(windows: Sequence[Windowed], q: float) -> list[Sample]:
    """Return a device's windows as samples of a quantile, in order; those of too few inferences are put together."""
    least = LEAST_BEYOND / max(1e-9, min(q, 1 - q))
    found: list[Sample] = []
    together: Windowed | None = None
    for window in windows:
        together = window if together is None else _joined(together, window)
        count = together.histogram.count
        if count < least:
            continue
        value = together.log_quantile(q)
        if math.isfinite(value):
            found.append(Sample(together.at_s, value, count))
        together = None
    return found


def _joined(first: Windowed, second: Windowed) -> Windowed:
    histogram = first.histogram.at_scale(first.histogram.scale)
    histogram.merge(second.histogram)
    return Windowed(second.at_s, histogram)


def noise_of(histories: Sequence[Sequence[Sample]], step_s: float) -> Noise:
    """Estimate the noise from devices' samples before a rollout, none of which changed meanwhile.

    Args:
        histories: by device, in order.
        step_s: the usual distance of samples.
    """
    sums, weights = [0.0] * _LAGS, [0.0] * _LAGS
    for history in histories:
        values = _centred([one.value for one in history])
        for lag in range(_LAGS):
            pairs = list(zip(values, values[lag:], strict=False))
            sums[lag] += sum(a * b for a, b in pairs)
            weights[lag] += len(pairs)
    usual = [_USUAL_SLOW * _USUAL_PHI**lag for lag in range(_LAGS)]
    usual[0] += _USUAL_QUICK
    of = [(sums[k] + _USUAL_WEIGHT * usual[k]) / (weights[k] + _USUAL_WEIGHT) for k in range(_LAGS)]
    phi = min(max((of[2] + of[3]) / (of[1] + of[2]), 0.0), _MOST_PHI) if of[1] + of[2] > 0 else 0.0
    slow = min(max(of[1], 0.0) / max(phi, 0.3), of[0])
    return Noise(phi=phi, slow=slow, quick=max(of[0] - slow, _LEAST_VARIANCE), step_s=step_s)


def own_noise(noise: Noise, history: Sequence[Sample]) -> Noise:
    """Return the noise of one device: the pooled one, as much larger or smaller as its own history is certain of."""
    values = _centred([one.value for one in history])
    total = noise.slow + noise.quick
    own = sum(one * one for one in values)
    return noise.scaled((own / total + _USUAL_WEIGHT) / (len(values) + _USUAL_WEIGHT))


def step_of(histories: Sequence[Sequence[Sample]]) -> float:
    """Return the usual distance of samples in seconds."""
    gaps = [b.at_s - a.at_s for history in histories for a, b in pairwise(history)]
    return max(1e-3, median(gaps)) if gaps else 10.0


def _centred(values: Sequence[float]) -> list[float]:
    """Return values less their mean, far ones drawn in."""
    if len(values) < 2:  # noqa: PLR2004  # one says nothing of how they vary
        return []
    middle = median(values)
    reach = CLIP_SD * _MAD_TO_SD * median(abs(one - middle) for one in values)
    near = [min(max(one, middle - reach), middle + reach) for one in values] if reach > 0 else list(values)
    mean = fmean(near)
    return [one - mean for one in near]
