"""By how much the latency of devices with a new release has moved against before, and against others meanwhile.

Each device is compared with itself: devices differ by factors, and a quantile of all of them together is that of the
slowest. The mean of a stretch is the generalised least squares one, got by a Kalman filter over the two parts of the
noise, so that estimates at successive looks have independent increments in information (Jennison and Turnbull, "Group
sequential methods", 2000, theorem 11.1), which is what the sequential test stands on. Pure: no I/O, no clock.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from edgekit.fleet.rollout.noise import Noise, Sample, noise_of, own_noise, step_of

CHANGE_VARIANCE = 0.01**2
"""Of the log-latency, by device: what any change of release does (another place in memory, another start)."""
LEAST_HISTORY = 6
"""Samples before the rollout that a device needs to be compared with itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """A device's samples before and after; of a control, which did not change, before and after the same moment."""

    device: str
    before: Sequence[Sample]
    after: Sequence[Sample]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """An estimate of the mean log ratio of latency, and its information (one over its variance)."""

    value: float
    information: float
    devices: int
    samples: int

    @property
    def ratio(self) -> float:
        """The relative change: 0.1 is 10 % slower."""
        return math.expm1(self.value)


@dataclass(frozen=True, slots=True)
class _Mean:
    value: float
    information: float


def shift_of(canaries: Sequence[Compared], controls: Sequence[Compared] = ()) -> Shift | None:
    """Estimate the shift of the canaries less that of the controls; None while no canary can be compared."""
    canaries, controls = _usable(canaries), _usable(controls)
    if not canaries:
        return None
    histories = [one.before for one in (*canaries, *controls)]
    noise = noise_of(histories, step_of(histories))
    moved = _moved(canaries, noise, CHANGE_VARIANCE)
    variance, value = 1 / moved.information, moved.value
    if controls:
        others = _moved(controls, noise, 0.0)
        variance, value = variance + 1 / others.information, value - others.value
    samples = sum(len(one.after) for one in canaries)
    return Shift(value=value, information=1 / variance, devices=len(canaries), samples=samples)


def _usable(devices: Sequence[Compared]) -> list[Compared]:
    return [one for one in devices if len(one.before) >= LEAST_HISTORY and one.after]


def _moved(devices: Sequence[Compared], pooled: Noise, between: float) -> _Mean:
    """Return by how much a group has moved; far samples are drawn in towards the group's median.

    What all have in common is so never cut, and a burst on one device counts as a few standard deviations.
    """
    noises = [own_noise(pooled, one.before) for one in devices]
    usuals = [_usual(one.before, noise) for one, noise in zip(devices, noises, strict=True)]
    centre = median(
        sample.value - usual.value for one, usual in zip(devices, usuals, strict=True) for sample in one.after
    )
    means = []
    for one, noise, usual in zip(devices, noises, usuals, strict=True):
        after = _mean(one.after, noise, usual.value, centre)
        means.append(_Mean(after.value, 1 / (1 / usual.information + 1 / after.information)))
    return _together(means, between)


def _usual(before: Sequence[Sample], noise: Noise) -> _Mean:
    middle = median(one.value for one in before)
    mean = _mean(before, noise, middle, 0.0)
    return _Mean(middle + mean.value, mean.information)


def _mean(samples: Sequence[Sample], noise: Noise, about: float, centre: float) -> _Mean:
    """Return the mean of samples less `about` under the noise; those far from `centre` are drawn in.

    The filter runs over the samples and over a row of ones; the ratio of their whitened innovations is the mean.
    """
    slow_x = slow_1 = score = information = 0.0
    variance, at_s, clip = noise.slow, samples[0].at_s, noise.clip
    for sample in samples:
        fade = noise.phi ** max(0.0, (sample.at_s - at_s) / noise.step_s)
        at_s = sample.at_s
        slow_x, slow_1 = slow_x * fade, slow_1 * fade
        variance = fade * fade * variance + noise.slow * (1 - fade * fade)
        value = min(max(sample.value - about, centre - clip), centre + clip)
        new_x, new_1 = value - slow_x, 1 - slow_1
        total = variance + noise.quick
        gain = variance / total
        score += new_x * new_1 / total
        information += new_1 * new_1 / total
        slow_x, slow_1, variance = slow_x + gain * new_x, slow_1 + gain * new_1, (1 - gain) * variance
    return _Mean(score / information, information)


def _together(means: Sequence[_Mean], between: float) -> _Mean:
    weights = [1 / (1 / one.information + between) for one in means]
    value = sum(weight * one.value for weight, one in zip(weights, means, strict=True))
    return _Mean(value / sum(weights), sum(weights))
