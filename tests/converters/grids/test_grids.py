"""Numeric grids against formulas written here, and against what must hold for any grid."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgekit_converters.errors import PrecisionError
from edgekit_converters.grids import GRIDS, grid_of, parse_grid, sharing_of
from edgekit_converters.grids.fitting import Fitted, fit, snr_db
from edgekit_converters.grids.kmeans import centres
from edgekit_converters.grids.levels import NF4

EVERY = [
    "linear",
    "linear:bits=2",
    "linear:bits=4,group=5",
    "linear:bits=3,asymmetric,per=tensor",
    "power-of-two:bits=4",
    "power-of-two:bits=5,per=channel,group=3",
    "log",
    "log:bits=2,per=channel",
    "kmeans:bits=2",
    "kmeans:bits=3,per=channel,group=7",
    "nf4",
    "nf4:per=channel,group=0",
]


def fitted(text: str, array: Any, axis: int | None = 0) -> Fitted:
    asked = parse_grid(text)
    return fit(grid_of(asked), array, axis, sharing_of(asked))


SHAPES = st.lists(st.integers(1, 6), min_size=0, max_size=4).map(tuple)
REALS = st.floats(-1e4, 1e4, width=32)


@settings(max_examples=25, deadline=None)
@pytest.mark.parametrize("text", EVERY)
@given(data=st.data())
def test_a_snapped_array_stays_as_it_is_when_snapped_again(text: str, data: st.DataObject) -> None:
    array = data.draw(arrays.arrays(np.float32, SHAPES, elements=REALS))
    axis = data.draw(st.integers(-array.ndim, array.ndim - 1)) if array.ndim else None
    made = fitted(text, array, axis)
    snapped = made.snap(array)
    assert snapped.shape == array.shape
    np.testing.assert_array_equal(made.snap(snapped), snapped)
    codes = made.encode(array)
    assert codes.shape == array.shape
    assert codes.max() - codes.min() < 2**made.grid.bits


@pytest.mark.parametrize("axis", [0, 1, 2, -1])
@pytest.mark.parametrize("bits", range(2, 9))
def test_linear_per_channel_is_the_formula(bits: int, axis: int, rng: np.random.Generator) -> None:
    array = rng.normal(size=(5, 4, 3)).astype(np.float32)
    last = 2 ** (bits - 1) - 1
    others = tuple(one for one in range(3) if one != axis % 3)
    scale = (np.abs(array).max(axis=others, keepdims=True) / last).astype(np.float32).astype(np.float64)
    wanted = np.clip(np.rint(array / scale), -last, last) * scale
    np.testing.assert_allclose(fitted(f"linear:bits={bits}", array, axis).snap(array), wanted, rtol=1e-12)


def test_linear_asymmetric_spans_the_values_with_zero_among_them(rng: np.random.Generator) -> None:
    array = rng.uniform(0.5, 3.0, size=(4, 50)).astype(np.float32)
    made = fitted("linear:bits=4,asymmetric", array)
    assert made.snap(np.zeros_like(array)).max() == 0
    assert np.abs(made.snap(array) - array).max() <= 3.0 / 15 * 0.5001


def test_groups_have_scales_of_their_own_and_the_last_may_be_short() -> None:
    array = np.array([[1.0, 0.5, 100.0, 50.0, 0.01]], np.float32)
    made = fitted("linear:bits=8,group=2", array)
    np.testing.assert_allclose(made.tables["scale"].ravel() * 127, [1, 100, 0.01], rtol=1e-6)
    assert made.stored_bits == 5 * 8 + 3 * 32


def test_a_fixed_point_scale_is_a_power_of_two_and_saturates_where_that_costs_less(rng: np.random.Generator) -> None:
    array = np.append(rng.uniform(-1, 1, 1000), 1.05)
    made = fitted("power-of-two:bits=4", array)
    (exponent,) = made.tables["exponent"].ravel()
    assert exponent == -3  # 7 * 2^-3 = 0.875; 2^-2 would span all with steps twice as wide
    assert made.snap(array).max() == 0.875


def test_logarithmic_points_are_zero_and_signed_powers_of_two(rng: np.random.Generator) -> None:
    array = rng.normal(size=3000)
    made = fitted("log:bits=4", array)
    snapped = made.snap(array)
    (top,) = made.tables["top"].ravel()
    points = np.sort(np.concatenate([[0.0], *(sign * 2.0 ** (top - np.arange(7)) for sign in (-1, 1))]))
    assert set(np.unique(snapped)) <= set(points)
    wanted = points[np.abs(array[:, None] - points).argmin(axis=1)]
    np.testing.assert_array_equal(np.abs(snapped - array), np.abs(wanted - array))


def test_kmeans_centres_are_as_good_as_trying_every_cut() -> None:
    values = np.array([0.1, 0.15, 0.2, 1.0, 1.1, 4.0, 4.4, 9.0])
    cuts = [(a, b) for a in range(1, 7) for b in range(a + 1, 8)]
    cost = min(sum(float(np.var(part) * len(part)) for part in np.split(values, cut)) for cut in cuts)
    found = centres(values, 3, np.random.default_rng(0))
    assert np.min((values[:, None] - found) ** 2, axis=1).sum() == pytest.approx(cost)


def test_kmeans_of_a_normal_distribution_reaches_the_published_optimum(rng: np.random.Generator) -> None:
    """Max 1960, "Quantizing for minimum distortion": 16 levels have a mean squared error of 0.009497."""
    array = rng.normal(size=200_000)
    assert snr_db(array, fitted("kmeans:bits=4", array, None).snap(array)) == pytest.approx(20.22, abs=0.05)


def test_kmeans_gives_the_same_twice_and_keeps_few_values(rng: np.random.Generator) -> None:
    array = rng.normal(size=(3, 100))
    np.testing.assert_array_equal(
        fitted("kmeans:bits=3", array).snap(array), fitted("kmeans:bits=3", array).snap(array)
    )
    few = rng.choice([-2.0, 0.5, 3.0], size=40)
    np.testing.assert_array_equal(fitted("kmeans:bits=2", few, None).snap(few), few)


def test_the_values_of_nf4_are_those_of_its_definition() -> None:
    """QLoRA: quantiles of a normal distribution, 8 positive and 7 negative and 0, scaled to 1."""
    from statistics import NormalDist

    share = 0.9677083
    ups = [NormalDist().inv_cdf(one) for one in np.linspace(share, 0.5, 9)[:-1]]
    downs = [-NormalDist().inv_cdf(one) for one in np.linspace(share, 0.5, 8)[:-1]]
    wanted = np.sort([*ups, 0.0, *downs])
    np.testing.assert_allclose(NF4, wanted / wanted.max(), atol=1e-6)


def test_nf4_stores_four_bits_a_weight_and_a_scale_a_block(rng: np.random.Generator) -> None:
    array = rng.normal(size=(10, 64))
    made = fitted("nf4", array)
    assert made.stored_bits == 640 * 4 + 10 * 32
    assert np.abs(made.snap(array)).max(axis=1) == pytest.approx(np.abs(array).max(axis=1))


@pytest.mark.parametrize("text", EVERY)
def test_zeros_stay_zeros(text: str) -> None:
    array = np.zeros((3, 4), np.float32)
    assert not fitted(text, array).snap(array).any()


def test_every_grid_can_be_asked_for_by_its_name() -> None:
    assert [parse_grid(name).text for name in GRIDS] == list(GRIDS)
    assert all(grid_of(parse_grid(name)).bits >= 4 for name in GRIDS)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("cubic", "has no grid 'cubic': it has linear, power-of-two, log, kmeans, nf4"),
        ("linear:bits=9", "option 'bits' takes 2 to 8, not '9'"),
        ("linear:bits=four", "option 'bits' takes 2 to 8"),
        ("nf4:bits=3", "nf4 has no option 'bits': it has per, group"),
        ("kmeans:per=row", "takes tensor, channel, not 'row'"),
    ],
)
def test_a_grid_that_is_not_there_is_refused_with_those_that_are(text: str, why: str) -> None:
    with pytest.raises(PrecisionError, match=why):
        parse_grid(text)


def test_the_error_is_said_in_decibels() -> None:
    assert snr_db(np.array([10.0, 0.0]), np.array([10.0, 1.0])) == pytest.approx(20)
    assert snr_db(np.ones(3), np.ones(3)) == math.inf
