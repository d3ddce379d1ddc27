"""Whether what a model sees and answers is still like the data it was judged on. No I/O, standard library only.

Answers are compared by the population stability index of the classes, inputs by the difference of their means in
standard deviations; both over enough samples that chance does not look like drift. docs/adr/0030-telemetry.md has the
reasons and figures.
"""

import math
from collections.abc import Mapping
from typing import Any

from edgekit_agent.baseline import Baseline, Moments, baseline_of
from edgekit_agent.config import DriftLimits
from edgekit_agent.counts import add_counts

LEAST_ANSWERS = 200
LEAST_PER_CLASS = 5
LEAST_SAMPLES = 30
_PSEUDO = 0.5
"""Added to each count, so that a class that was not seen has a share."""
_DIGITS = 4
MOST = 1e6
"""A distance where nothing varies is no number: it is told as this."""


def stability_index(expected: Mapping[str, float], seen: Mapping[str, float]) -> float:
    """Return the population stability index of two histograms, less what chance alone gives; at least 0.

    PSI = sum((p - q) ln(p / q)); for equal distributions of B classes its mean is about (B - 1)(1/n + 1/m)
    (Yurdakul and Naranjo, "Statistical properties of the population stability index", 2020).

    Args:
        expected: counts of the baseline by class.
        seen: counts on the device by class.
    """
    classes = expected.keys() | seen.keys()
    n, m = sum(expected.values()), sum(seen.values())
    if not n or not m:
        return 0.0
    room = _PSEUDO * len(classes)
    total = 0.0
    for one in classes:
        p = (expected.get(one, 0) + _PSEUDO) / (n + room)
        q = (seen.get(one, 0) + _PSEUDO) / (m + room)
        total += (q - p) * math.log(q / p)
    return max(0.0, total - (len(classes) - 1) * (1 / n + 1 / m))


def shift(expected: Moments, seen: Moments) -> float:
    """Return how far an input's means are from the baseline's in pooled standard deviations, of the worst channel.

    |m1 - m0| / sqrt((s0^2 + s1^2) / 2), which is Cohen's d.
    """
    pairs = [((expected.mean, expected.std), (seen.mean, seen.std))]
    if expected.channel_mean and len(expected.channel_mean) == len(seen.channel_mean):
        before = zip(expected.channel_mean, expected.channel_std, strict=True)
        pairs = list(zip(before, zip(seen.channel_mean, seen.channel_std, strict=True), strict=True))
    return max(_distance(*one) for one in pairs)


def _distance(before: tuple[float, float], after: tuple[float, float]) -> float:
    difference = abs(after[0] - before[0])
    pooled = math.sqrt((before[1] ** 2 + after[1] ** 2) / 2)
    return min(difference / pooled, MOST) if pooled else MOST if difference else 0.0


class Drift:
    """Scores what reports tell of a model against its baseline, and says when it is to be told."""

    def __init__(self, baseline: Baseline, limits: DriftLimits) -> None:
        """Begin without a sample."""
        self._baseline, self.limits = baseline, limits
        self.suspected = False
        self.scores: dict[str, Any] = {}
        """The last scores: `classes`, `confidence`, and by input `inputs`."""
        self._sums: dict[str, Any] = {}
        self._row = 0

    def add(self, sums: Mapping[str, Any]) -> bool:
        """Take what was observed in a window; return whether drift has begun to be suspected, or is over.

        A score needs enough samples, so a slow model's is made of several windows.
        """
        add_counts(self._sums, {name: one for name, one in sums.items() if name in {"top1", "in", "conf"}})
        if not self._enough():
            return False
        seen, self._sums = baseline_of(self._sums), {}
        self.scores = self._scored(seen)
        self._row = self._row + 1 if self._over() != self.suspected else 0
        if self._row < self.limits.times:
            return False
        self.suspected, self._row = not self.suspected, 0
        return True

    def _enough(self) -> bool:
        answers = sum(self._sums.get("top1", {}).values())
        samples = min((one["n"] for one in self._sums.get("in", {}).values()), default=0)
        least = max(LEAST_ANSWERS, LEAST_PER_CLASS * len(self._baseline.classes)) if self._baseline.classes else 0
        return answers >= least and samples >= (LEAST_SAMPLES if self._baseline.inputs else 0)

    def _scored(self, seen: Baseline) -> dict[str, Any]:
        scores: dict[str, Any] = {}
        if self._baseline.classes:
            scores["classes"] = _rounded(stability_index(self._baseline.classes, seen.classes))
        before, now = self._baseline.confidence, seen.confidence
        if before is not None and now is not None:
            bins = [{str(n): count for n, count in enumerate(one.bins)} for one in (before, now)]
            scores["confidence"] = _rounded(stability_index(*bins))
        known = self._baseline.inputs.keys() & seen.inputs.keys()
        scores["inputs"] = {
            name: _rounded(shift(self._baseline.inputs[name], seen.inputs[name])) for name in sorted(known)
        }
        return scores

    def _over(self) -> bool:
        classes, inputs = self.limits.classes, self.limits.inputs
        answers = max(self.scores.get("classes", 0.0), self.scores.get("confidence", 0.0))
        worst = max(self.scores["inputs"].values(), default=0.0)
        return bool((classes and answers > classes) or (inputs and worst > inputs))


def _rounded(value: float) -> float:
    return round(value, _DIGITS)
