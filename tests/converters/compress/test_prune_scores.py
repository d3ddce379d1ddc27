"""What channels are judged by where samples are few: covariances that do not believe in what a few rows show."""

import numpy as np
import pytest

from edgekit_converters.compress.prune_scores import shrunk


def taken(rows: int, columns: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the true covariances of columns that share some causes, and those of a few rows."""
    rng = np.random.default_rng(seed)
    causes = rng.normal(size=(columns // 2, columns)) / np.sqrt(columns)
    true = causes.T @ causes + 0.2 * np.eye(columns)
    return true, np.cov(rng.multivariate_normal(np.zeros(columns), true, rows), rowvar=False, bias=True)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("rows", [10, 40, 100])
def test_few_rows_are_put_right_towards_the_truth(rows: int, seed: int) -> None:
    true, seen = taken(rows, 80, seed)
    assert np.linalg.norm(shrunk(seen, rows) - true) < np.linalg.norm(seen - true)


@pytest.mark.parametrize("seed", range(5))
def test_of_fewer_rows_than_columns_none_is_made_of_the_others(seed: int) -> None:
    true, seen = taken(20, 80, seed)
    lost, found = (1 / np.diag(np.linalg.inv(one)) for one in (true, shrunk(seen, 20)))
    assert (found > 0.2 * lost).all()  # without it most would seem to cost nothing
    assert np.linalg.matrix_rank(seen) < 20


def test_many_rows_are_believed() -> None:
    _, seen = taken(100_000, 20, 0)
    assert np.allclose(shrunk(seen, 100_000), seen, atol=2e-3 * np.trace(seen) / 20)


def test_columns_that_are_alike_and_independent_stay_as_they_are() -> None:
    assert (shrunk(3 * np.eye(4), 5) == 3 * np.eye(4)).all()
