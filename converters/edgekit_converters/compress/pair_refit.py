"""Two layers with an activation between them, re-fitted together to what the second one should give.

A layer alone can only mix anew what the one before it left over. Two together are no linear problem, but near where
they are they almost are one: what the activation passes now, it passes, and the rest it holds. That problem is solved
by least squares, again and again, on other samples each time (Gauss and Newton's method; the solver is LSMR of Fong
and Saunders 2011, stopped early, so that directions which few samples show stay as they are). No labels are needed,
nothing outside the two layers is looked at, and a turn counts only as far as samples kept out of it get better.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.compress.least_squares import Floats
from edgekit_converters.compress.products import Product
from edgekit_converters.graph.weights import Reals

_TURNS, _STEPS = 6, 20
"""Turns, and steps of the solver in each."""
_DAMPING = 0.01
_LENGTHS = (1.0, 0.5, 0.25)
"""Parts of a turn's answer that are tried, the first that helps is taken."""
_GAIN = 0.002
"""A turn that lowers the error by a smaller share is the last."""
_ENOUGH = 1e-4
"""An error that is as good as none: nothing is sought below it."""
_MOST_VALUES = 1 << 25
"""Of the rows that a layer takes in a turn."""
_CHECKED = 8
"""Every so many runs one is kept out, to judge by."""


@dataclass(frozen=True, slots=True)
class Values:
    """What a run of a model holds around two layers, samples first: as arrays of the graph.

    `taken` by the first layer, `between` before the activation, `have` and `wanted` where the second one is judged.
    """

    taken: Floats
    between: Floats
    have: Floats
    wanted: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """Two layers, and where the activations behind them cut off: infinite for a Relu, None where there is none."""

    first: Product
    second: Product
    inner: float | None
    outer: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """What is added to the weights and biases [channels] of two layers: the first one's, then the second one's."""

    parts: tuple[Floats, Floats, Floats, Floats]

    def plus(self, other: "Changes", length: float) -> "Changes":
        """Return these and a part of others."""
        first, bias, second, last = (
            one + np.float32(length) * more for one, more in zip(self.parts, other.parts, strict=True)
        )
        return Changes(parts=(first, bias, second, last))


@dataclass(frozen=True, slots=True, kw_only=True)
class PairFit:
    """What to add to both layers; the errors are of samples kept out, as shares of the variance of what is wanted."""

    changes: Changes
    before: float
    after: float


def fit_pair(pair: Pair, runs: Sequence[Values], rng: np.random.Generator) -> PairFit | None:
    """Return the fit; None where samples kept out are no better for it.

    Args:
        pair: the layers, of a changed model.
        runs: what the model holds on calibration data, a run each; the samples lie along the first axis.
        rng: chooses the samples of each turn.
    """
    turn = min(_CHECKED, len(runs))
    kept_out = [one for at, one in enumerate(runs) if at % turn == turn - 1]
    inside = [one for at, one in enumerate(runs) if at % turn != turn - 1] or kept_out
    checked = _Batch(pair, _some(pair, kept_out, rng))
    here = _nothing(pair)
    before = now = checked.error(here)
    for _ in range(_TURNS if before > _ENOUGH else 0):
        step = _Problem(pair, _Batch(pair, _some(pair, inside, rng)), here).solved()
        tries = (here.plus(step, part) for part in _LENGTHS)
        better = next(((one, error) for one in tries if (error := checked.error(one)) < now), None)
        if better is None:
            break
        last, (here, now) = now, better
        if now > last * (1 - _GAIN):
            break
    return PairFit(changes=here, before=before, after=now) if now < before else None


def _nothing(pair: Pair) -> Changes:
    parts = [(np.zeros_like(one.weights), np.zeros(_channels(one), np.float32)) for one in (pair.first, pair.second)]
    return Changes(parts=(*parts[0], *parts[1]))


def _channels(product: Product) -> int:
    return int(product.weights.shape[0 if product.axis == 1 else 1])


def _some(pair: Pair, runs: Sequence[Values], rng: np.random.Generator) -> Values:
    """Return as many runs as one, chosen at random, as the rows of a turn may be."""
    each = max(pair.first.count(runs[0].taken), pair.second.count(runs[0].between))
    most = max(1, _MOST_VALUES // max(each, 1))
    chosen = [runs[at] for at in rng.permutation(len(runs))[:most]]
    parts = [(one.taken, one.between, one.have, one.wanted) for one in chosen]
    taken, between, have, wanted = (np.concatenate(each) for each in zip(*parts, strict=True))
    return Values(taken=taken, between=between, have=have, wanted=wanted)


class _Batch:
    """Some samples, and what the two layers do to them."""

    def __init__(self, pair: Pair, values: Values) -> None:
        self.values, self._pair = values, pair
        given = pair.second.results(_passed(values.between, pair.inner), pair.second.weights)
        self._others = values.have - given
        wanted = _passed(values.wanted, pair.outer)
        self._spread: float = max(float(wanted.var(axis=0).sum()) / wanted[0].size, float(np.finfo(np.float32).tiny))

    def between(self, changes: Changes) -> Floats:
        """Return what stands before the activation."""
        first = self._pair.first
        return self.values.between + first.biased(first.results(self.values.taken, changes.parts[0]), changes.parts[1])

    def made(self, changes: Changes, taken: Floats) -> Floats:
        """Return what stands where the second layer is judged, if it takes that."""
        second = self._pair.second
        return self._others + second.biased(second.results(taken, second.weights + changes.parts[2]), changes.parts[3])

    def missing(self, made: Floats) -> Floats:
        """Return what is wanted and not there, behind the activation."""
        return _passed(self.values.wanted, self._pair.outer) - _passed(made, self._pair.outer)

    def error(self, changes: Changes) -> float:
        """Return the mean square of what is missing, as a share of the variance of what is wanted."""
        made = self.made(changes, _passed(self.between(changes), self._pair.inner))
        mean = float(np.square(self.missing(made)).mean(dtype=np.float64))
        return mean / self._spread


class _Problem:
    """What a small change of the two layers does to what they give, on a batch: a linear map, and its adjoint."""

    def __init__(self, pair: Pair, batch: _Batch, here: Changes) -> None:
        self._pair, self._taken = pair, batch.values.taken
        between = batch.between(here)
        self._between = _passed(between, pair.inner)
        made = batch.made(here, self._between)
        self._inner, self._outer = _passing(between, pair.inner), _passing(made, pair.outer)
        self._missing = batch.missing(made)
        self._weights = pair.second.weights + here.parts[2]
        self._rows = pair.first.rows(self._taken), pair.second.rows(self._between)
        self._shapes = [one.shape for one in here.parts]
        self._scales = self._sizes()

    def _sizes(self) -> tuple[np.float32, ...]:
        """Return how much of each part makes about the same difference, so that the solver moves all of them."""
        weights = _size(self._weights) * np.sqrt(np.float32(_channels(self._pair.second)))
        wanted = _size(self._taken) * weights, weights, _size(self._between), np.float32(1)
        return tuple(1 / max(one, np.float32(1e-12)) for one in wanted)

    def solved(self) -> Changes:
        """Return the change that would do best."""
        from scipy.sparse.linalg import LinearOperator, lsmr  # type: ignore[import-untyped,unused-ignore]

        shape = self._missing.size, sum(int(np.prod(one)) for one in self._shapes)
        there = LinearOperator(shape, matvec=self._ahead, rmatvec=self._back, dtype=np.float64)
        damping = _DAMPING * np.sqrt(self._missing.size / _channels(self._pair.second))
        wanted = self._missing.ravel().astype(np.float64)
        return self._parts(lsmr(there, wanted, damp=damping, maxiter=_STEPS, atol=1e-4, btol=1e-4)[0])

    def _parts(self, vector: Reals) -> Changes:
        cuts = np.cumsum([int(np.prod(one)) for one in self._shapes])[:-1]
        first, bias, second, last = (
            scale * part.astype(np.float32).reshape(shape)
            for scale, part, shape in zip(self._scales, np.split(vector, cuts), self._shapes, strict=True)
        )
        return Changes(parts=(first, bias, second, last))

    def _ahead(self, vector: Reals) -> Reals:
        change, bias, weights, last = self._parts(vector).parts
        first, second = self._pair.first, self._pair.second
        moved = self._inner * first.biased(first.results(self._taken, change), bias)
        made = second.results(moved, self._weights) + second.results(self._between, weights)
        return np.asarray((self._outer * second.biased(made, last)).ravel(), np.float64)

    def _back(self, vector: Reals) -> Reals:
        first, second = self._pair.first, self._pair.second
        given = self._outer * vector.astype(np.float32).reshape(self._missing.shape)
        moved = self._inner * second.back(given, self._weights, self._between.shape)
        parts = (
            first.weights_back(self._rows[0], moved),
            first.bias_back(moved),
            second.weights_back(self._rows[1], given),
            second.bias_back(given),
        )
        scaled = [scale * one.ravel() for scale, one in zip(self._scales, parts, strict=True)]
        return np.concatenate(scaled).astype(np.float64)


def _size(array: Floats) -> np.float32:
    return np.float32(np.sqrt(np.mean(np.square(array))))


def _passed(values: Floats, highest: float | None) -> Floats:
    """Return what an activation makes of values."""
    return values if highest is None else np.clip(values, np.float32(0), np.float32(highest))


def _passing(values: Floats, highest: float | None) -> Floats:
    """Return 1 where an activation passes values on and 0 where it holds them."""
    if highest is None:
        return np.ones_like(values)
    return ((values > 0) & (values < highest)).astype(np.float32)
