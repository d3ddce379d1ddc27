"""What a model's inputs and answers were like on the data it was judged on; a bundle carries it to the device."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from edgekit_agent.protocol.codec import Message, told

BINS = 10
"""Of the confidence, from 0 to 1."""
_DIGITS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments(Message):
    """The mean and standard deviation of all real values of an input, and of each channel of an image."""

    mean: float
    std: float = told("Of the whole population.", minimum=0)
    samples: int = told("How many samples they are of.", minimum=1)
    channel_mean: tuple[float, ...] = told("One a channel; empty where there are none.", default=())
    channel_std: tuple[float, ...] = told("As many as means.", minimum=0, default=())


@dataclass(frozen=True, slots=True, kw_only=True)
class Confidence(Message):
    """The scores of the classes answered, where scores are probabilities."""

    mean: float = told("Of the highest score.", minimum=0)
    bins: tuple[int, ...] = told(f"Samples by their highest score, {BINS} bins of equal width.", minimum=0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline(Message):
    """What a device sees drift against."""

    inputs: Mapping[str, Moments] = told("By input.", default_factory=dict)
    classes: Mapping[str, int] = told("Answers by the number of their class.", default_factory=dict)
    confidence: Confidence | None = told("Left out where scores are no probabilities.", default=None)


def baseline_of(sums: Mapping[str, Any]) -> Baseline:
    """Return the figures of what was observed.

    Args:
        sums: `in` and `conf` as `edgekit_agent.observing.Observer.take` gives them, added up, and `top1` with the
            number of answers by class; any may be missing.
    """
    confidence = sums.get("conf")
    return Baseline(
        inputs={name: moments_of(one) for name, one in sums.get("in", {}).items()},
        classes=dict(sums.get("top1", {})),
        confidence=None
        if confidence is None
        else Confidence(mean=_rounded(confidence["sum"] / confidence["n"]), bins=tuple(confidence["bins"])),
    )


def moments_of(sums: Mapping[str, Any]) -> Moments:
    """Return mean and deviation from the sums of values and of their squares by channel."""
    count, channels = sums["values"], len(sums["sum"])
    means = [one / count for one in sums["sum"]]
    several = channels > 1
    deviations = [_deviation(square / count, mean) for square, mean in zip(sums["squares"], means, strict=True)]
    whole = sum(means) / channels
    return Moments(
        mean=_rounded(whole),
        std=_rounded(_deviation(sum(sums["squares"]) / (channels * count), whole)),
        samples=sums["n"],
        channel_mean=tuple(map(_rounded, means)) if several else (),
        channel_std=tuple(map(_rounded, deviations)) if several else (),
    )


def _deviation(mean_square: float, mean: float) -> float:
    return math.sqrt(max(0.0, mean_square - mean * mean))


def _rounded(value: float) -> float:
    return float(f"{value:.{_DIGITS}g}")
