"""Weights taken out with the least damage to what a layer computes, and the others fitted to make up for it.

The damage to rows X of inputs is |X (W - W')|², so H = XᵀX is all there is to know of them. By Hassibi and Stork 1992,
"Second order derivatives for network pruning: Optimal Brain Surgeon", a weight costs w² / [H⁻¹]jj when all others make
up for it. Where zeros may lie anywhere they grow in rounds, the rest fitted in between: that comes near to taking out
weight by weight (docs/adr/0016), in a small part of the time. N of M are chosen column by column as in Frantar and
Alistarh 2023, "SparseGPT": what a column loses is taken over by those behind it. What is left is then the
least-squares fit among all weights with those zeros, by conjugate gradients.

Weights are [groups, outputs, columns] here, and each group has an H of its own.
"""

import numpy as np

from edgekit_converters.compress.sparse_patterns import Mask, Pattern
from edgekit_converters.graph.weights import Reals

_DAMPING = 0.01  # of the mean diagonal: SparseGPT's
_GROWTHS = 8
_STEPS, _CLOSE = 200, 1e-5
_ROUGH_STEPS, _ROUGH = 30, 1e-3  # while zeros still grow


def damped(gram: Reals) -> Reals:
    """Return H with a little of the identity, so that it has an inverse and a fit keeps near to what was there."""
    mean = np.einsum("gii->g", gram) / gram.shape[-1]
    more = np.where(mean > 0, _DAMPING * mean, 1.0)
    return np.asarray(gram + more[:, None, None] * np.eye(gram.shape[-1]), np.float64)


def chosen(weights: Reals, gram: Reals, pattern: Pattern, sparsity: float) -> tuple[Reals, Mask]:
    """Choose the weights that stay by the damage.

    Args:
        weights: [groups, outputs, columns].
        gram: `damped` H [groups, columns, columns].
        pattern: how zeros may lie; the weights fit it.
        sparsity: the share of zeros, where the pattern does not say it.

    Returns:
        The weights as the choice left them, and which stay.
    """
    inverse = np.asarray(np.linalg.inv(gram), np.float64)
    return _by_column(weights, inverse, pattern) if pattern.kept else _grown(weights, gram, inverse, pattern, sparsity)


def _grown(weights: Reals, gram: Reals, inverse: Reals, pattern: Pattern, sparsity: float) -> tuple[Reals, Mask]:
    """Choose in rounds, most in the first ones (Zhu and Gupta 2017, "To prune, or not to prune")."""
    costs = 1 / np.einsum("gii->gi", inverse)[:, None, :]
    work, stays = weights, np.ones(weights.shape, np.bool_)
    for growth in range(1, _GROWTHS + 1):
        share = sparsity * (1 - (1 - growth / _GROWTHS) ** 3)
        stays = pattern.keep(np.where(stays, work**2 * costs, -1.0), share)
        work = refitted(work, weights, gram, stays, rough=True)
    return work, stays


def _by_column(weights: Reals, inverse: Reals, pattern: Pattern) -> tuple[Reals, Mask]:
    upper = np.asarray(np.linalg.cholesky(inverse).swapaxes(1, 2), np.float64)
    pivots = np.einsum("gii->gi", upper)[:, None, :]
    work, stays = weights.copy(), np.ones(weights.shape, np.bool_)
    for start in range(0, weights.shape[2], pattern.columns):
        places = slice(start, start + pattern.columns)
        stays[:, :, places] = pattern.keep((work[:, :, places] / pivots[:, :, places]) ** 2, 0.0)
        _take_out(work, stays, upper, places)
    return work, stays


def _take_out(work: Reals, stays: Mask, upper: Reals, places: slice) -> None:
    """Take weights out of some columns, and let the columns behind make up for it."""
    lost = np.zeros((*work.shape[:2], places.stop - places.start))
    for at in range(places.start, places.stop):
        gone = np.where(stays[:, :, at], 0.0, work[:, :, at]) / upper[:, None, at, at]
        lost[:, :, at - places.start] = gone
        work[:, :, at : places.stop] -= gone[:, :, None] * upper[:, None, at, at : places.stop]
    work[:, :, places] *= stays[:, :, places]
    work[:, :, places.stop :] -= lost @ upper[:, places, places.stop :]


def refitted(start: Reals, wanted: Reals, gram: Reals, stays: Mask, *, rough: bool = False) -> Reals:
    """Return the weights with zeros where nothing stays whose damage beside the wanted ones is the least.

    Args:
        start: any weights [groups, outputs, columns] to begin with.
        wanted: the weights before.
        gram: `damped` H [groups, columns, columns].
        stays: which weights there are.
        rough: whether to stop at a thousandth of the error.
    """
    steps, close = (_ROUGH_STEPS, _ROUGH) if rough else (_STEPS, _CLOSE)
    found = np.where(stays, start, 0.0)
    scale = 1 / np.einsum("gii->gi", gram)[:, None, :]
    left = np.where(stays, (wanted - found) @ gram, 0.0)
    towards = left * scale
    size = _product(left, towards)
    enough = close**2 * np.maximum(size, _product(wanted @ gram, wanted))
    for _ in range(steps):
        going = size > enough
        if not going.any():
            break
        moved = np.where(stays, towards @ gram, 0.0)
        step = _ratio(size, _product(towards, moved), going)
        found += step * towards
        left -= step * moved
        before, size = size, _product(left, left * scale)
        towards = left * scale + _ratio(size, before, going) * towards
    return found


def damage(change: Reals, gram: Reals) -> float:
    """Return |X change|²."""
    return float(np.sum((change @ gram) * change))


def _product(one: Reals, other: Reals) -> Reals:
    """Return the products of rows, [groups, outputs, 1]."""
    return np.asarray(np.einsum("goc,goc->go", one, other), np.float64)[:, :, None]


def _ratio(one: Reals, other: Reals, where: Mask) -> Reals:
    return np.where(where, one / np.where(where, other, 1.0), 0.0)
