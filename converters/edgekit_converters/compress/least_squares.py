"""Least squares for a layer whose results are to be others: rows X [n, columns], what it gives and what it should.

Behind a Relu only what is above zero counts. Then targets z are sought with the weights in turns (Zhang, Zou, He and
Sun 2015, "Accelerating Very Deep Convolutional Networks for Classification and Detection", section 3.2): for each
element the z with least (r(y) - r(z))² + strength (z - ẑ)², y being wanted and ẑ what the weights give; then the
weights by least squares to z. Both steps are in closed form.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.groups.ties import Mask
from edgekit_converters.graph.weights import Reals

Floats = NDArray[np.float32]
RIDGES = (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 1.0)
"""How strongly weights are held where they are, as shares of the rows' mean power; what fits rows kept out is used."""
_STRENGTHS = (0.1, 0.1, 0.1, 0.3, 0.3, 1.0, 1.0)
"""Of the turns: first targets move freely, then they follow the weights."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """What to add to weights [columns, outputs of a group], a matrix a group, and to biases [outputs].

    The errors are of rows kept out, before and after, as shares of the variance of what is wanted.
    """

    weights: tuple[Reals, ...]
    bias: Reals
    before: float
    after: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Rows of a layer, a matrix [n, columns] a group; what it gives and what it should [n, outputs].

    `highest` is where the activation behind it cuts off (infinite for a Relu), None where there is none; rows of
    `checked` are kept out of the fit.
    """

    rows: Sequence[Floats]
    have: Floats
    wanted: Floats
    checked: Mask
    highest: float | None = None

    def activated(self, results: Floats) -> Floats:
        """Return what the activation makes of results."""
        return results if self.highest is None else np.clip(results, 0.0, np.float32(self.highest))


def fit(task: Task) -> Fit | None:
    """Return the fit; None where rows kept out are no better for it."""
    spread = float(task.activated(task.wanted[task.checked]).var(axis=0).sum())
    width = task.have.shape[1] // len(task.rows)
    found = [_fit(task, rows, slice(at * width, (at + 1) * width)) for at, rows in enumerate(task.rows)]
    before, after = sum(one[2] for one in found), sum(one[3] for one in found)
    if not after < before:
        return None
    share = max(spread * int(task.checked.sum()), float(np.finfo(np.float32).tiny))
    return Fit(
        weights=tuple(one[0] for one in found),
        bias=np.concatenate([one[1] for one in found]),
        before=before / share,
        after=after / share,
    )


def _fit(task: Task, rows: Floats, outputs: slice) -> tuple[Reals, Reals, float, float]:
    """Return the weights and bias of a group, and the sums of squares before and after."""
    inside = ~task.checked if not task.checked.all() else task.checked
    system = _System(rows[inside])
    have, wanted = task.have[:, outputs], task.wanted[:, outputs]

    def error(solution: tuple[Reals, Reals]) -> float:
        given = have[task.checked] + _product(rows[task.checked], solution)
        lost = task.activated(wanted[task.checked]) - task.activated(given)
        return float(np.square(lost).sum(dtype=np.float64))

    missing = wanted[inside] - have[inside]
    tried = [system.solved(missing, ridge) for ridge in RIDGES]
    errors = [error(one) for one in tried]
    at = int(np.argmin(errors))
    best, after = tried[at], errors[at]
    if task.highest is not None:
        bent = best
        for strength in _STRENGTHS:
            given = have[inside] + _product(rows[inside], bent)
            aim = _aims(wanted[inside], given, np.float32(strength), np.float32(task.highest))
            bent = system.solved(aim - have[inside], RIDGES[at])
        if error(bent) < after:
            best, after = bent, error(bent)
    nothing = np.zeros_like(best[0]), np.zeros_like(best[1])
    return *best, error(nothing), after


def _product(rows: Floats, solution: tuple[Reals, Reals]) -> Floats:
    return rows @ solution[0].astype(np.float32) + solution[1].astype(np.float32)


def _aims(wanted: Floats, given: Floats, strength: np.float32, highest: np.float32) -> Floats:
    """Return for every element the target that costs least, as the module's text has it."""
    seen = np.clip(wanted, 0.0, highest)
    above = np.maximum((strength * given + seen) / (strength + 1), 0)
    above = np.where((wanted >= highest) & (given >= highest), given, above)
    below = np.minimum(given, 0)
    cost_above = np.square(seen - np.minimum(above, highest)) + strength * np.square(above - given)
    cost_below = np.square(seen) + strength * np.square(below - given)
    return np.where(cost_above < cost_below, above, below)


class _System:
    """The normal equations of rows with a bias, for any right side."""

    def __init__(self, rows: Floats) -> None:
        self._rows = rows
        self._mean = rows.mean(axis=0, dtype=np.float64)
        products = (rows.T @ rows).astype(np.float64) / len(rows)
        self._power = products - np.outer(self._mean, self._mean)
        self._held = max(float(np.trace(self._power)) / len(self._mean), 1e-12)
        self._inverses: dict[float, Reals] = {}

    def solved(self, right: Floats, ridge: float) -> tuple[Reals, Reals]:
        """Return weights [columns, outputs] and bias [outputs]."""
        if ridge not in self._inverses:
            held = ridge * self._held * np.eye(len(self._mean))
            self._inverses[ridge] = np.asarray(np.linalg.inv(self._power + held), np.float64)
        mean = right.mean(axis=0, dtype=np.float64)
        cross = (self._rows.T @ right).astype(np.float64) / len(right) - np.outer(self._mean, mean)
        weights = self._inverses[ridge] @ cross
        return weights, mean - self._mean @ weights
