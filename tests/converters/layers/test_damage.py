"""A layer's figures against NumPy's own sums."""

import math

import numpy as np
import pytest

from edgekit_converters.layers.damage import Tally


def test_the_figures_are_those_of_all_samples_at_once(rng: np.random.Generator) -> None:
    a, b, c = (rng.normal(size=(12, 5)).astype(np.float32) for _ in range(3))
    tally = Tally()
    for start in range(0, 12, 4):
        tally.add(a[start : start + 4], b[start : start + 4], c[start : start + 4])
    found = tally.figures()
    power = np.sum(a.astype(np.float64) ** 2)
    assert found["error"] == pytest.approx(math.sqrt(np.sum((a - b) ** 2) / power), rel=1e-6)
    assert found["own_error"] == pytest.approx(math.sqrt(np.sum((b - c) ** 2) / power), rel=1e-6)
    assert found["snr_db"] == pytest.approx(10 * math.log10(power / np.sum((a - b) ** 2)), rel=1e-6)
    assert found["cosine"] == pytest.approx(
        float(a.ravel() @ b.ravel()) / np.linalg.norm(a) / np.linalg.norm(b), rel=1e-5
    )
    assert found["max_abs"] == pytest.approx(np.abs(a - b).max())


def test_equal_layers_have_no_error_and_no_ratio() -> None:
    tally = Tally()
    tally.add(*(np.ones(3, np.float32),) * 3)
    assert (tally.figures()["error"], tally.figures()["snr_db"]) == (0.0, None)


def test_an_error_against_nothing_is_no_number() -> None:
    tally = Tally()
    tally.add(np.zeros(3), np.ones(3), np.zeros(3))
    assert tally.figures()["own_error"] is None
    assert tally.figures()["cosine"] is None
