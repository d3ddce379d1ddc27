"""Drift scores: near 0 for the same distribution, large for another, told once and only when it stays."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pytest

from edgekit_agent.baseline import Baseline, Confidence, Moments, moments_of
from edgekit_agent.config import DriftLimits
from edgekit_agent.drift import LEAST_ANSWERS, LEAST_SAMPLES, MOST, Drift, shift, stability_index

LIKE_BEFORE = {"0": 500, "1": 300, "2": 200}
BASELINE = Baseline(inputs={"x": Moments(mean=0.0, std=1.0, samples=100)}, classes=LIKE_BEFORE)


def index_by_hand(expected: Sequence[float], seen: Sequence[float]) -> float:
    p, q = np.asarray(expected) / np.sum(expected), np.asarray(seen) / np.sum(seen)
    return float(np.sum((q - p) * np.log(q / p)))


def window(classes: Mapping[str, int], mean: float = 0.0, samples: int = LEAST_SAMPLES) -> dict[str, Any]:
    n = 10 * samples
    return {
        "top1": dict(classes),
        "in": {"x": {"n": samples, "values": n, "sum": [n * mean], "squares": [n * (1 + mean * mean)]}},
    }


class TestScores:
    def test_the_index_is_the_formula_s_for_many_answers(self) -> None:
        expected, seen = (5000, 3000, 2000), (2000, 3000, 5000)
        found = stability_index(*({str(n): one for n, one in enumerate(counts)} for counts in (expected, seen)))
        assert found == pytest.approx(index_by_hand(expected, seen), rel=2e-3)

    def test_chance_does_not_look_like_drift(self, rng: np.random.Generator) -> None:
        """Without the correction fifty classes in 250 answers would score 0.25 by chance alone."""
        shares = rng.dirichlet(np.full(50, 5.0))
        scores, plain = [], []
        for _ in range(100):
            counts = [rng.multinomial(n, shares) for n in (5000, 250)]
            scores.append(stability_index(*({str(n): int(one) for n, one in enumerate(row)} for row in counts)))
            plain.append(index_by_hand(*((row + 0.5).tolist() for row in counts)))
        assert np.mean(plain) > 0.17
        assert np.mean(scores) < 0.05

    def test_a_class_that_was_never_seen_is_a_number(self) -> None:
        assert 1 < stability_index({"0": 1000}, {"1": 1000}) < 100
        assert stability_index({}, {"1": 5}) == stability_index({"1": 5}, {}) == 0

    def test_a_shift_is_in_deviations_of_the_worst_channel(self) -> None:
        expected = Moments(mean=0, std=1, samples=9, channel_mean=(0, 10), channel_std=(1, 2))
        seen = Moments(mean=0, std=1, samples=9, channel_mean=(0.5, 13), channel_std=(1, 2))
        assert shift(expected, seen) == 1.5
        assert shift(expected, Moments(mean=0.25, std=1, samples=9)) == 0.25

    def test_where_nothing_varies_any_difference_is_the_largest(self) -> None:
        black = Moments(mean=0, std=0, samples=1)
        assert shift(black, black) == 0
        assert shift(black, Moments(mean=1, std=0, samples=1)) == MOST

    def test_sums_give_mean_and_deviation(self, rng: np.random.Generator) -> None:
        values = rng.normal((5, -3), (2, 0.5), (10_000, 2))
        sums = {
            "n": 4,
            "values": len(values),
            "sum": values.sum(axis=0).tolist(),
            "squares": (values**2).sum(axis=0).tolist(),
        }
        found = moments_of(sums)
        assert found.channel_mean == pytest.approx(values.mean(axis=0), rel=1e-4)
        assert found.channel_std == pytest.approx(values.std(axis=0), rel=1e-4)
        assert (found.mean, found.std) == pytest.approx((values.mean(), values.std()), rel=1e-4)


class TestTold:
    def test_the_same_is_no_drift(self) -> None:
        drift = Drift(BASELINE, DriftLimits())
        assert not any(drift.add(window(LIKE_BEFORE)) for _ in range(100))
        assert drift.scores == {"classes": 0.0, "inputs": {"x": 0.0}}

    @pytest.mark.parametrize("other", [window({"2": 1000}), window(LIKE_BEFORE, mean=0.8)], ids=["answers", "inputs"])
    def test_it_is_told_when_it_stays_and_when_it_is_over(self, other: dict[str, Any]) -> None:
        drift = Drift(BASELINE, DriftLimits(times=3))
        assert [drift.add(other) for _ in range(6)] == [False, False, True, False, False, False]
        assert drift.suspected
        assert [drift.add(window(LIKE_BEFORE)) for _ in range(4)] == [False, False, True, False]
        assert not drift.suspected

    def test_windows_that_come_and_go_are_not_told(self) -> None:
        drift = Drift(BASELINE, DriftLimits(times=3))
        for _ in range(20):
            assert not any(drift.add(window({"2": 1000})) for _ in range(2))
            assert not drift.add(window(LIKE_BEFORE))

    def test_a_slow_model_s_score_is_made_of_several_windows(self) -> None:
        drift = Drift(BASELINE, DriftLimits(times=1))
        few = window({"2": LEAST_ANSWERS // 10}, samples=LEAST_SAMPLES // 10)
        assert [drift.add(few) for _ in range(10)] == [False] * 9 + [True]

    def test_limits_of_0_are_none(self) -> None:
        drift = Drift(BASELINE, DriftLimits(times=1, classes=0, inputs=0))
        assert not any(drift.add(window({"2": 1000}, mean=9)) for _ in range(5))
        assert drift.scores["classes"] > 1

    def test_confidence_that_falls_is_drift(self) -> None:
        bins = (0, 0, 0, 0, 0, 0, 0, 50, 150, 800)
        drift = Drift(Baseline(confidence=Confidence(mean=0.9, bins=bins)), DriftLimits(times=1))
        assert not drift.add({"conf": {"n": 1000, "sum": 900.0, "bins": list(bins)}})
        assert drift.add({"conf": {"n": 100, "sum": 50.0, "bins": [0, 0, 0, 20, 30, 20, 20, 10, 0, 0]}})
        assert drift.scores["confidence"] > 1

    def test_an_input_the_baseline_does_not_know_is_passed_over(self) -> None:
        drift = Drift(BASELINE, DriftLimits())
        sums = window(LIKE_BEFORE)
        sums["in"]["other"] = sums["in"]["x"]
        drift.add(sums)
        assert drift.scores["inputs"] == {"x": 0.0}
