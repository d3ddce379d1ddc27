"""The latency histogram against the values themselves."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_agent.bench import Stages
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import WIRE_SCALE, ExpHistogram

SECONDS = st.lists(st.floats(1e-7, 1e3), min_size=1, max_size=200)
BOUND = {4: 2.0 ** (0.5 / 16) - 1, 6: 2.0 ** (0.5 / 64) - 1}


@given(SECONDS, SECONDS, SECONDS)
def test_merging_is_the_histogram_of_all_values_in_any_order(a: list[float], b: list[float], c: list[float]) -> None:
    whole = ExpHistogram.of([*a, *b, *c])
    for order in ((a, b, c), (c, a, b), (b, c, a)):
        merged = ExpHistogram()
        for part in order:
            merged.merge(ExpHistogram.of(part))
        assert merged == whole


@given(SECONDS, SECONDS)
def test_coarser_and_finer_merge_at_the_coarser_scale(a: list[float], b: list[float]) -> None:
    merged = ExpHistogram.of(a)
    merged.merge(ExpHistogram.of(b).at_scale(WIRE_SCALE))
    assert merged == ExpHistogram.of([*a, *b]).at_scale(WIRE_SCALE)


@pytest.mark.parametrize("scale", [4, 6])
@given(values=SECONDS, q=st.floats(0, 1))
def test_a_quantile_is_within_the_bound_of_the_nearest_rank(scale: int, values: list[float], q: float) -> None:
    exact = sorted(values)[max(0, math.ceil(q * len(values)) - 1)]
    got = ExpHistogram.of(values, scale).quantile(q)
    assert abs(got - exact) <= (BOUND[scale] + 1e-9) * exact


@pytest.mark.parametrize("power", range(-20, 11))
def test_a_power_of_two_is_the_upper_edge_of_its_bucket(power: int) -> None:
    histogram = ExpHistogram.of([2.0**power], scale=4)
    assert list(histogram.counts) == [16 * power - 1]


@given(SECONDS)
def test_the_wire_form_comes_back(values: list[float]) -> None:
    histogram = ExpHistogram.of(values).at_scale(WIRE_SCALE)
    back = ExpHistogram.from_json(histogram.to_json())
    assert back.counts == histogram.counts
    assert back.total == pytest.approx(histogram.total, abs=1e-9)
    assert (back.minimum, back.maximum) == pytest.approx((histogram.minimum, histogram.maximum), abs=1e-9)


def test_an_empty_histogram_has_no_quantile_and_survives_the_wire() -> None:
    assert math.isnan(ExpHistogram().quantile(0.5))
    assert ExpHistogram.from_json(ExpHistogram().to_json()).count == 0


def test_zeros_count_below_everything() -> None:
    histogram = ExpHistogram.of([0.0, 0.0, 1.0])
    assert histogram.count == 3
    assert histogram.quantile(0.5) == 0.0
    assert ExpHistogram.from_json(histogram.to_json()) == histogram


@given(st.lists(st.tuples(*[st.integers(0, 10**9)] * 3), min_size=1, max_size=100))
def test_the_stopwatch_counts_as_one_by_one(spans: list[tuple[int, int, int]]) -> None:
    readings = [(0, pre, pre + infer, pre + infer + post) for pre, infer, post in spans]
    stages = Stages()
    stages.extend(readings)
    assert stages.infer == ExpHistogram.of([infer * 1e-9 for _, infer, _ in spans])
    assert stages.e2e == ExpHistogram.of([sum(span) * 1e-9 for span in spans])


@pytest.mark.parametrize(
    "body",
    [
        None, {}, {"s": 9, "o": 0, "c": []}, {"s": 4, "o": 0.5, "c": []}, {"s": 4, "o": 0, "c": [-1]},
        {"s": 4, "o": 0, "c": [1.5]}, {"s": 4, "o": 0, "c": [1]}, {"s": 4, "o": 0, "c": [0] * 5000},
        {"s": 4, "o": 0, "c": [1], "sum": 1, "min": "x", "max": 1}, {"s": 4, "o": 2**40, "c": []},
    ],
    ids=str,
)  # fmt: skip
def test_a_broken_histogram_is_refused(body: object) -> None:
    with pytest.raises(ProtocolError, match="histogram"):
        ExpHistogram.from_json(body)


def test_numpy_values_are_binned_alike() -> None:
    values = np.random.default_rng(0).lognormal(-7, 1, 5000)
    stages = Stages()
    stages.extend([(0, 0, int(value * 1e9), int(value * 1e9)) for value in values])
    assert stages.infer == ExpHistogram.of([int(value * 1e9) * 1e-9 for value in values])
