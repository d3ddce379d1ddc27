"""Ranges of values from calibration: each method against a formula of its own, and data with nothing to measure."""

import itertools
import warnings
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.ranges import BINS, METHODS, SMOOTHING, Ranges, observe

Runs = list[Mapping[Any, Any]]
CUTTING = ("percentile", "mse", "entropy")


def found(method: str, *runs: Any, percentile: float = 99.99, levels: int = 256) -> tuple[float, float]:
    def every() -> Iterable[Mapping[Any, Any]]:
        return ({"v": np.asarray(run, np.float32)} for run in runs)

    (limits,) = observe(Ranges(method, percentile), every).found(levels).values()
    return limits


@pytest.mark.parametrize("method", METHODS)
@given(
    st.lists(
        st.lists(st.floats(-1e6, 1e6, width=32, allow_subnormal=False), min_size=1, max_size=40),
        min_size=1,
        max_size=4,
    )
)
@settings(max_examples=15, deadline=None)
def test_no_range_is_wider_than_what_was_seen_and_0_is_in_each(method: str, runs: list[list[float]]) -> None:
    low, high = found(method, *runs)
    seen = [one for run in runs for one in run]
    assert min(*seen, 0.0) <= low <= 0.0 <= high <= max(*seen, 0.0)
    if method == "min-max":
        assert (low, high) == (min(*seen, 0.0), max(*seen, 0.0))


def test_the_moving_average_is_of_the_runs_own_limits() -> None:
    low, high = found("moving-average", [-1, 1], [-3, 5], [-2, 9])
    by_hand = -1.0, 1.0
    for now in ((-3, 5), (-2, 9)):
        by_hand = tuple(SMOOTHING * old + (1 - SMOOTHING) * new for old, new in zip(by_hand, now, strict=True))  # type: ignore[assignment]
    assert (low, high) == pytest.approx(by_hand)


DATA = {
    "normal": lambda rng: rng.normal(size=20000),
    "off centre": lambda rng: rng.normal(loc=5, scale=0.2, size=20000),
    "far off centre": lambda rng: -100 - rng.random(20000),
    "relu": lambda rng: np.maximum(rng.normal(size=20000), 0),
    "long tail": lambda rng: rng.standard_t(2, size=20000),
}


@pytest.mark.parametrize("share", [90.0, 99.0, 99.9])
@pytest.mark.parametrize("kind", DATA)
def test_the_percentile_is_numpys_to_a_bin(kind: str, share: float, rng: np.random.Generator) -> None:
    values = DATA[kind](rng).astype(np.float32)
    low, high = found("percentile", *np.split(values, 4), percentile=share)
    outside = (100 - share) / 2
    wanted = np.percentile(values, [outside, 100 - outside], method="inverted_cdf")
    bin_width = float(max(values.max(), 0) - min(values.min(), 0)) / BINS
    assert low == pytest.approx(min(wanted[0], 0), abs=1.01 * bin_width)
    assert high == pytest.approx(max(wanted[1], 0), abs=1.01 * bin_width)


def _stored(values: Any, limits: tuple[float, float], levels: int) -> Any:
    step = (limits[1] - limits[0]) / (levels - 1)
    zero = np.rint(-limits[0] / step)
    return (np.clip(np.rint(values / step) + zero, 0, levels - 1) - zero) * step


@pytest.mark.parametrize("levels", [16, 256])
@pytest.mark.parametrize("kind", DATA)
def test_mse_finds_about_the_least_error_of_all_cuts(kind: str, levels: int, rng: np.random.Generator) -> None:
    values = DATA[kind](rng).astype(np.float32)
    limits = found("mse", values, levels=levels)

    def error(candidate: tuple[float, float]) -> float:
        return float(np.mean((values - _stored(values, candidate, levels)) ** 2))

    full = min(values.min(), 0.0), max(values.max(), 0.0)
    shares = np.linspace(0.05, 1, 30)
    least = min(error((a * full[0], b * full[1])) for a in shares for b in shares)
    assert error(limits) <= 1.1 * least
    assert error(limits) <= 1.001 * error(full)


def _divergence(values: Any, limit: float, top: float, levels: int) -> float:
    """S. Migacz' measure, by scipy, for values of one sign."""
    stats = pytest.importorskip("scipy.stats")
    counts, _ = np.histogram(values, BINS, (0.0, top))
    counts = counts.astype(float)
    counts[0] = counts[1]
    place = round(limit / top * BINS)
    seen, kept = counts[:place].copy(), counts[:place]
    stored = np.zeros(place)
    edges = [-(-group * place // levels) for group in range(levels + 1)]
    for start, end in itertools.pairwise(edges):
        part = kept[start:end]
        if (part > 0).any():
            stored[start:end][part > 0] = part.sum() / (part > 0).sum()
    seen[-1] += counts[place:].sum()
    return float(stats.entropy(seen, np.maximum(stored, 1e-12 * stored.sum())))


def test_entropy_finds_about_the_least_divergence(rng: np.random.Generator) -> None:
    values = np.abs(rng.standard_t(3, size=20000)).astype(np.float32)
    top = float(values.max())
    low, high = found("entropy", values)
    assert low == 0
    every = [_divergence(values, top * place / BINS, top, 256) for place in range(256, BINS + 1, 8)]
    assert _divergence(values, high, top, 256) <= min(every) * 1.05 + 1e-6
    assert high < top


def test_entropy_of_more_levels_than_bins_cuts_nothing(rng: np.random.Generator) -> None:
    values = rng.normal(size=5000).astype(np.float32)
    assert found("entropy", values, levels=65535) == pytest.approx((values.min(), values.max()), rel=2 / BINS)


@pytest.mark.parametrize("method", ["percentile", "entropy"])
def test_what_is_rare_is_cut_off(method: str, rng: np.random.Generator) -> None:
    values = rng.normal(size=100_000).astype(np.float32)
    values[:3] = (200, -200, 150)
    low, high = found(method, *np.split(values, 10))
    assert -60 < low < -2
    assert 2 < high < 60


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize(
    ("values", "wanted"),
    [
        ([0.0] * 8, (0, 0)),
        ([3.0] * 8, (0, 3)),
        ([-2.0] * 8, (-2, 0)),
        ([1e30] * 8, (0, 1e30)),
        ([1e-30] * 8, (0, 1e-30)),
        ([2.0], (0, 2)),
        ([np.nan, -1, 1, np.inf, -np.inf, -3.4e38, -1, 1], (-1, 1)),
    ],
    ids=["zero", "constant", "negative constant", "huge", "tiny", "single", "not finite, and masks"],
)
def test_values_without_a_spread_give_a_range_all_the_same(
    method: str, values: list[float], wanted: tuple[float, float]
) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        limits = found(method, values, values)
    assert limits == pytest.approx(wanted, rel=2 / BINS)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("values", [[], [np.nan, np.inf], [-3.4e38]], ids=["empty", "not finite", "masks"])
def test_nothing_to_be_stored_gives_no_range(method: str, values: list[float]) -> None:
    runs: Runs = [{"v": np.asarray(values, np.float32)}]
    assert observe(Ranges(method), lambda: runs).found() == {}


@pytest.mark.parametrize("method", CUTTING)
def test_every_channel_of_a_large_value_is_looked_at(method: str, rng: np.random.Generator) -> None:
    """The spread of one channel of 32 decides, wherever it lies."""
    wide = rng.normal(size=(1, 112, 112, 32)).astype(np.float32)
    for channel in (0, 5, 31):
        values = 0.1 * wide
        values[..., channel] *= 30
        low, high = found(method, values, percentile=99.0)
        assert low < -1
        assert high > 1


@pytest.mark.parametrize("method", METHODS)
def test_values_are_told_apart_by_their_keys(method: str, rng: np.random.Generator) -> None:
    small, large = rng.normal(size=(2, 1000)).astype(np.float32) * np.array([[1], [100]], np.float32)
    runs: Runs = [{"small": small, 7: large}]
    limits = observe(Ranges(method), lambda: runs).found()
    assert limits["small"][1] < 10 < limits[7][1]
