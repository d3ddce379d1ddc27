"""Zeros where they cost least, and the rest fitted: held against least squares and exhaustive search."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_converters.compress import surgeon
from edgekit_converters.compress.sparse_patterns import Pattern, pattern_of

Reals = np.ndarray[tuple[int, ...], np.dtype[np.float64]]


def _problem(seed: int, groups: int, outputs: int, columns: int) -> tuple[Reals, Reals, Reals]:
    """Return weights, correlated rows [groups, n, columns] and their H."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(groups, 6 * columns, columns)) @ rng.normal(size=(groups, columns, columns))
    return rng.normal(size=(groups, outputs, columns)), rows, rows.swapaxes(1, 2) @ rows


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 99), st.integers(1, 3), st.integers(1, 4), st.integers(2, 12), st.floats(0.1, 0.9))
def test_the_fit_is_that_of_least_squares(seed: int, groups: int, outputs: int, columns: int, share: float) -> None:
    weights, rows, gram = _problem(seed, groups, outputs, columns)
    stays = np.random.default_rng(seed).random(weights.shape) > share
    got = surgeon.refitted(weights, weights, gram, stays)
    assert not got[~stays].any()
    for group, output in itertools.product(range(groups), range(outputs)):
        mask = stays[group, output]
        wanted = np.zeros(columns)
        there = rows[group][:, mask]
        wanted[mask] = np.linalg.lstsq(there, rows[group] @ weights[group, output], rcond=None)[0]
        lost = [np.sum((rows[group] @ (one - weights[group, output])) ** 2) for one in (got[group, output], wanted)]
        assert lost[0] <= lost[1] * (1 + 1e-6) + 1e-9 * np.sum((rows[group] @ weights[group, output]) ** 2)


def test_what_stays_is_near_the_best_there_is_and_better_than_by_size() -> None:
    ratios, sizes = [], []
    for seed in range(12):
        weights, _, gram = _problem(seed, 1, 1, 8)
        _, stays = surgeon.chosen(weights, gram, Pattern(text="none"), 0.5)
        assert stays.sum() == 4
        by_size = np.abs(weights) >= np.sort(np.abs(weights).ravel())[4]
        best = min(_loss(weights, gram, set(one)) for one in itertools.combinations(range(8), 4))
        ratios.append(_loss(weights, gram, set(np.flatnonzero(stays[0, 0]))) / best)
        sizes.append(_loss(weights, gram, set(np.flatnonzero(by_size[0, 0]))) / best)
    assert np.median(ratios) < 1.5
    assert np.mean(ratios) < np.mean(sizes)


def _loss(weights: Reals, gram: Reals, kept: set[int]) -> float:
    stays = np.isin(np.arange(weights.shape[2]), list(kept))[None, None]
    return surgeon.damage(surgeon.refitted(weights, weights, gram, stays) - weights, gram)


def test_the_choice_itself_makes_up_for_what_goes() -> None:
    weights, _, gram = _problem(3, 2, 5, 300)
    work, stays = surgeon.chosen(weights, surgeon.damped(gram), Pattern(text="none"), 0.6)
    assert not work[~stays].any()
    assert stays.mean() == pytest.approx(0.4, abs=0.01)
    assert surgeon.damage(work - weights, gram) < surgeon.damage(np.where(stays, weights, 0) - weights, gram)


def test_inputs_that_are_always_zero_do_no_harm() -> None:
    weights, rows, _ = _problem(0, 1, 3, 6)
    rows[:, :, 2] = 0
    gram = surgeon.damped(rows.swapaxes(1, 2) @ rows)
    work, stays = surgeon.chosen(weights, gram, Pattern(text="none"), 1 / 6)
    assert np.isfinite(surgeon.refitted(work, weights, gram, stays)).all()
    nothing = surgeon.damped(np.zeros((1, 6, 6)))
    assert np.isfinite(surgeon.chosen(weights, nothing, Pattern(text="none"), 0.5)[0]).all()


@pytest.mark.parametrize("text", ["2:4", "1:4", "3:8", "1:2"])
def test_n_of_m_are_kept_in_every_row(text: str) -> None:
    pattern = pattern_of(text)
    weights, _, gram = _problem(1, 2, 3, 16)
    for stays in (
        pattern.keep(weights**2, 0.0),
        surgeon.chosen(weights, surgeon.damped(gram), pattern, 0.0)[1],
    ):
        assert (stays.reshape(-1, pattern.columns).sum(axis=1) == pattern.kept).all()
    groups = (weights**2).reshape(-1, pattern.columns)
    kept = pattern.keep(weights**2, 0.0).reshape(groups.shape)
    assert (np.where(kept, groups, np.inf).min(axis=1) >= np.where(kept, 0, groups).max(axis=1)).all()


@pytest.mark.parametrize(("text", "share"), [("1x4", 0.5), ("2x2", 0.25), ("4x1", 0.75)])
def test_blocks_go_as_a_whole(text: str, share: float) -> None:
    pattern = pattern_of(text)
    weights, _, gram = _problem(2, 3, 4, 24)
    for stays in (
        pattern.keep(weights**2, share),
        surgeon.chosen(weights, surgeon.damped(gram), pattern, share)[1],
    ):
        blocks = stays.reshape(-1, pattern.rows, 24 // pattern.columns, pattern.columns).mean(axis=(1, 3))
        assert set(blocks.ravel()) <= {0.0, 1.0}
        assert blocks.mean() == pytest.approx(1 - share, abs=0.02)


@pytest.mark.parametrize("text", ["", "2", "4:2", "4:4", "0:4", "1x1", "0x4", "1x99", "x4", "2:4:8", "-1:4", "1:65"])
def test_other_patterns_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        pattern_of(text)
