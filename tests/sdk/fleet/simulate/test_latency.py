"""Simulated latency: the histograms are those of the values, and the noise is what the class of hardware says."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.fleet.simulate.hardware import BOARD, CLASSES, GATEWAY, Hardware
from edgekit.fleet.simulate.latency import Bank, LatencyModel, histogram
from edgekit_agent.protocol import WIRE_SCALE, ExpHistogram

BANK = Bank(0)


@settings(deadline=None)
@given(values=st.lists(st.floats(1e-6, 100.0), max_size=60))
def test_a_histogram_is_that_of_its_values(values: list[float]) -> None:
    found, exact = histogram(np.asarray(values)), ExpHistogram.of(values, WIRE_SCALE)
    assert found.count == exact.count
    assert (found.minimum, found.maximum) == (exact.minimum, exact.maximum)
    # at a boundary the two logarithms may round apart: then a value is in the bucket beside
    assert sum(abs(found.counts.get(i, 0) - exact.counts.get(i, 0)) for i in {*found.counts, *exact.counts}) <= 2 * sum(
        math.isclose(v, 2 ** (round(math.log2(v) * 16) / 16), rel_tol=1e-12) for v in values
    )


@pytest.mark.parametrize("hardware", CLASSES, ids=lambda one: one.name)
def test_the_median_and_the_tail_are_those_of_the_class(hardware: Hardware) -> None:
    whole = ExpHistogram(WIRE_SCALE)
    for seed in range(60):
        whole.merge(LatencyModel(hardware, BANK, seed).window(10.0, 0.0, 600, 1.0).infer)
    # the bound of a bucket and the differences between 60 boards
    assert whole.quantile(0.5) == pytest.approx(hardware.infer_s, rel=0.04)
    slow = whole.quantile(0.999)
    assert slow > 2.5 * hardware.infer_s


def test_slower_is_slower_by_so_much() -> None:
    usual, slow = (LatencyModel(BOARD, BANK, 5).window(10.0, 0.0, 5000, factor).infer for factor in (1.0, 1.1))
    assert slow.mean / usual.mean == pytest.approx(1.1, rel=1e-6)


def test_a_board_that_gets_hot_gets_slower() -> None:
    hot = LatencyModel(BOARD, BANK, 1)
    cold = hot.window(10.0, 0.0, 2000, 1.0).infer.mean
    hot.temperature_c = BOARD.throttle_c + 12
    warm = hot.window(0.001, 0.0, 2000, 1.0).infer.mean
    assert warm / cold == pytest.approx(1 + 12 * BOARD.throttle, rel=0.05)


def test_load_warms_a_board_to_its_temperature() -> None:
    model = LatencyModel(GATEWAY, BANK, 2)
    for minute in range(60):
        model.window(60.0, 60.0 * minute, 10, 1.0)
    assert model.temperature_c == pytest.approx(GATEWAY.ambient_c + GATEWAY.load_c, abs=6.0)


def test_the_whole_is_the_sum_of_the_stages() -> None:
    latency = LatencyModel(BOARD, BANK, 3).window(10.0, 0.0, 100, 1.0)
    assert latency.e2e.total == pytest.approx(latency.pre.total + latency.infer.total + latency.post.total)
