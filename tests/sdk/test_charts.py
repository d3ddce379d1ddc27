"""Geometry of the report's charts."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit._charts import (
    Scale,
    from_zero_or_log,
    linear,
    linear_ticks,
    outline,
    pareto_front,
    tick_texts,
    with_outliers,
)
from edgekit._charts_labels import Box, place_labels, shorten, text_width

FINITE = st.floats(-1e12, 1e12, allow_nan=False)
POSITIVE = st.floats(1e-9, 1e9)


@given(st.lists(FINITE, max_size=12))
def test_a_linear_axis_holds_every_value_in_order(values: list[float]) -> None:
    scale = linear(values)
    places = [scale.at(value) for value in sorted(values)]
    assert scale.low < scale.high
    assert all(scale.holds(value) for value in values)
    assert places == sorted(places)
    assert all(0 <= place <= 100 for place in places)


@given(st.lists(POSITIVE, max_size=12))
def test_an_axis_from_zero_or_log_holds_every_value(values: list[float]) -> None:
    scale = from_zero_or_log(values)
    assert scale.log == bool(values and max(values) > 6 * min(values))
    assert all(scale.holds(value) for value in values)
    assert scale.log or scale.low == 0


@given(FINITE, st.floats(1e-6, 1e9), st.integers(2, 10))
def test_ticks_are_round_evenly_spread_and_about_as_many_as_asked(low: float, span: float, count: int) -> None:
    span = max(span, 1e-6 * abs(low))
    ticks = linear_ticks(low, low + span, count)
    assert 1 <= len(ticks) <= 1.5 * count + 1
    slack = 1e-6 * span
    assert all(low - slack <= tick <= low + span + slack for tick in ticks)
    if len(ticks) > 1:
        step = ticks[1] - ticks[0]
        mantissa = step / 10 ** math.floor(math.log10(step) + 1e-6)
        assert any(math.isclose(mantissa, round_one, rel_tol=1e-3) for round_one in (1, 2, 2.5, 5, 10))


@pytest.mark.parametrize(
    ("scale", "count", "wanted"),
    [
        (Scale(low=0, high=0.35), 5, ["0.00", "0.05", "0.10", "0.15", "0.20", "0.25", "0.30", "0.35"]),
        (Scale(low=72.8, high=78.2), 5, ["73", "74", "75", "76", "77", "78"]),
        (Scale(low=0, high=42_000), 5, ["0", "10,000", "20,000", "30,000", "40,000"]),
        (Scale(low=-0.3, high=0.3), 3, ["-0.2", "0.0", "0.2"]),
        (Scale(low=0, high=3e-6), 3, ["0.0e+00", "1.0e-06", "2.0e-06", "3.0e-06"]),
        (Scale(low=0.08, high=0.53, log=True), 5, ["0.1", "0.2", "0.5"]),
        (Scale(low=0.002, high=5000, log=True), 5, ["0.01", "0.1", "1", "10", "100", "1,000"]),
    ],
    ids=["hundredths", "units", "thousands", "around zero", "tiny", "part of a decade", "many decades"],
)
def test_ticks_read_as_people_write_them(scale: Scale, count: int, wanted: list[str]) -> None:
    assert tick_texts(scale.ticks(count)) == wanted


@given(POSITIVE, st.floats(1.5, 1e9), st.integers(3, 8))
def test_a_logarithmic_axis_has_few_distinct_ticks(low: float, ratio: float, count: int) -> None:
    scale = Scale(low=low, high=low * ratio, log=True)
    ticks = scale.ticks(count)
    assert 1 <= len(ticks) <= 1.5 * count + 1
    assert len(set(tick_texts(ticks))) == len(ticks)
    assert all(scale.holds(tick) or math.isclose(scale.at(tick) % 100, 0, abs_tol=1e-3) for tick in ticks)


def test_equal_distances_on_a_logarithmic_axis_are_equal_ratios() -> None:
    scale = Scale(low=1, high=1000, log=True)
    assert [scale.at(value) for value in (1, 10, 100, 1000)] == pytest.approx([0, 100 / 3, 200 / 3, 100], abs=1e-3)
    assert scale.at(0) == 0


def test_an_outlier_does_not_squeeze_what_counts() -> None:
    scale = with_outliers([75.1, 75.6], [75.3, 74.8, 10.0])
    assert scale.holds(74.8)
    assert not scale.holds(10.0)
    assert scale.at(10.0) == 0
    assert scale.at(75.6) - scale.at(75.1) > 40
    assert with_outliers([], [1.0, 9.0]).holds(9.0)


def test_a_difference_below_the_least_span_is_not_magnified() -> None:
    scale = linear([75.60, 75.61], least=0.4)
    assert scale.at(75.61) - scale.at(75.60) < 5


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), max_size=12))
def test_the_front_is_what_no_other_point_beats(pairs: list[tuple[int, int]]) -> None:
    points = [(float(cost), float(quality)) for cost, quality in pairs]
    front = {points[at] for at in pareto_front(points)}
    assert len(front) == len(pareto_front(points))
    wanted = {
        one for one in points if not any(other != one and other[0] <= one[0] and other[1] >= one[1] for other in points)
    }
    assert front == wanted


def test_the_front_rises_with_cost() -> None:
    assert pareto_front([(3, 3), (1, 1), (2, 0), (3, 2), (1, 1)]) == [1, 0]


def test_an_outline_peaks_where_most_values_are(rng: np.random.Generator) -> None:
    values = np.concatenate([rng.normal(2, 0.05, 900), rng.normal(4, 0.05, 100)])
    quantiles = np.quantile(values, np.arange(101) / 100).tolist()
    scale = linear(quantiles, zero=True)
    shape = outline(quantiles, scale)
    at, height = max(shape, key=lambda point: point[1])
    assert height == 1
    assert at == pytest.approx(scale.at(2), abs=1)
    between = [height for place, height in shape if scale.at(2.6) < place < scale.at(3.4)]
    assert max(between) < 0.05
    places = [place for place, _ in shape]
    assert places == sorted(places)
    assert 0 <= places[0] <= places[-1] <= 100


def test_an_outline_of_equal_values_is_a_narrow_peak() -> None:
    shape = outline([1.0] * 101, linear([1.0], zero=True))
    assert all(math.isfinite(height) for _, height in shape)
    assert 0 < shape[-1][0] - shape[0][0] < 3


@given(
    st.lists(st.tuples(st.floats(0, 900), st.floats(0, 400), st.floats(3, 14)), max_size=40),
    st.text("int48-weights:group=", min_size=1, max_size=26),
)
def test_labels_cover_neither_points_nor_each_other(points: list[tuple[float, float, float]], text: str) -> None:
    area, written = Box(0, 0, 900, 400), [Box(700, 100, 120, 15)]
    placed = place_labels(points, [text] * len(points), area, written)
    boxes = [box for box in placed if box is not None]
    spots = [Box(x - radius, y - radius, 2 * radius, 2 * radius) for x, y, radius in points]
    assert len(placed) == len(points)
    assert all(box.inside(area) for box in boxes)
    assert not any(one.overlap(other) for one, other in itertools.combinations(boxes, 2))
    assert not any(box.overlap(other) for box in boxes for other in [*spots, *written])


def test_a_lone_point_has_its_label_beside_it() -> None:
    (box,) = place_labels([(100, 100, 5)], ["int8"], Box(0, 0, 300, 200))
    assert box == Box(106, 92.5, text_width("int8") + 6, 15)


def test_the_most_important_point_keeps_its_label_where_there_is_room_for_one() -> None:
    points = [(50.0, 10.0, 5.0)] * 30
    placed = place_labels(points, ["int8"] * 30, Box(0, 0, 120, 20))
    assert placed[0] is not None
    assert None in placed


@pytest.mark.parametrize(
    ("text", "length", "wanted"), [("abc", 5, "abc"), ("abcdefghij", 5, "ab…ij"), ("abcd", 3, "a…d")]
)
def test_long_names_keep_both_ends(text: str, length: int, wanted: str) -> None:
    assert shorten(text, length) == wanted
