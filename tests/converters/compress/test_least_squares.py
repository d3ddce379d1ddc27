"""Least squares for layers: exact where an answer exists, refused where rows kept out are worse off, bent by a Relu."""

from typing import Any

import numpy as np
from hypothesis import given as drawn
from hypothesis import settings
from hypothesis import strategies as st

from edgekit_converters.compress.least_squares import Task, _aims, fit


def every(n: int, turn: int) -> Any:
    return np.arange(n) % turn == 0


def test_what_is_missing_in_a_linear_way_is_found_in_every_group(rng: np.random.Generator) -> None:
    rows = [rng.normal(size=(400, 6)).astype(np.float32) for _ in range(2)]
    weights, bias = rng.normal(size=(2, 6, 3)), rng.normal(size=6)
    have = rng.normal(size=(400, 6)).astype(np.float32)
    missing = np.concatenate([one @ each for one, each in zip(rows, weights, strict=True)], axis=1) + bias
    found = fit(Task(rows=rows, have=have, wanted=(have + missing).astype(np.float32), checked=every(400, 8)))
    assert found is not None
    assert np.allclose(found.weights, weights, atol=1e-3)
    assert np.allclose(found.bias, bias, atol=1e-3)
    assert found.after < 1e-6 < found.before


def test_a_fit_that_rows_kept_out_are_not_better_for_is_none(rng: np.random.Generator) -> None:
    rows, have = rng.normal(size=(24, 20)).astype(np.float32), np.zeros((24, 2), np.float32)
    wanted = np.where(every(24, 2)[:, None], 0, rng.normal(size=(24, 2))).astype(np.float32)
    assert fit(Task(rows=[rows], have=have, wanted=wanted, checked=every(24, 2))) is None


def test_behind_a_relu_only_what_is_above_zero_is_fitted(rng: np.random.Generator) -> None:
    rows = rng.normal(size=(4000, 2)).astype(np.float32)
    wanted = np.where(rows[:, :1] > 0, rows[:, :1], 5 * rows[:, :1]).astype(np.float32)
    task = Task(rows=[rows], have=np.zeros_like(wanted), wanted=wanted, checked=every(4000, 8))
    plain = fit(task)
    bent = fit(Task(rows=[rows], have=task.have, wanted=wanted, checked=task.checked, highest=float("inf")))
    assert plain is not None
    assert bent is not None

    def lost(weights: Any, bias: Any) -> float:
        return float(np.mean((np.maximum(wanted, 0) - np.maximum(rows @ weights + bias, 0)) ** 2))

    assert lost(bent.weights[0], bent.bias) < 0.5 * lost(plain.weights[0], plain.bias)


@settings(max_examples=200, deadline=None)
@drawn(
    wanted=st.floats(-8, 8, width=32),
    given=st.floats(-8, 8, width=32),
    strength=st.sampled_from([0.1, 0.3, 1.0]),
    highest=st.sampled_from([np.inf, 6.0]),
)
def test_a_target_costs_no_more_than_any_other(wanted: float, given: float, strength: float, highest: float) -> None:
    def cost(z: Any) -> Any:
        return (np.clip(wanted, 0, highest) - np.clip(z, 0, highest)) ** 2 + strength * (z - given) ** 2

    both = [np.array([one], np.float32) for one in (wanted, given)]
    found = _aims(both[0], both[1], np.float32(strength), np.float32(highest)).astype(np.float64)
    assert cost(found)[0] <= cost(np.linspace(-10, 10, 4001)).min() + 1e-3
