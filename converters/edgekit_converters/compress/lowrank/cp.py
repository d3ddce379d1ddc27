"""The canonical polyadic decomposition of an array with three axes, by alternating least squares."""

import numpy as np

from edgekit_converters.graph.weights import Reals

_ROUNDS, _STARTS = 200, 3
_ENOUGH = 1e-7
"""The fit changes by less of the array's power in a round: it is done."""


def cp(array: Reals, rank: int) -> tuple[Reals, Reals, Reals]:
    """Return A [a, r], B [b, r], C [c, r] so that the sum over r of their outer products is near the array [a, b, c].

    Alternating least squares (Carroll and Chang 1970) from random starts with a fixed seed, the best of them; the
    columns of B and C have length 1.
    """
    found = [_fitted(array, rank, np.random.default_rng(seed)) for seed in range(_STARTS)]
    return min(found, key=lambda one: one[0])[1]


def _fitted(array: Reals, rank: int, rng: np.random.Generator) -> tuple[float, tuple[Reals, Reals, Reals]]:
    parts = [rng.normal(size=(size, rank)) for size in array.shape]
    flat = [np.moveaxis(array, axis, 0).reshape(size, -1) for axis, size in enumerate(array.shape)]
    power = float(np.sum(array**2))
    before = np.inf
    for _ in range(_ROUNDS):
        for axis in (2, 1, 0):
            one, other = (parts[at] for at in range(3) if at != axis)
            normal = (one.T @ one) * (other.T @ other)
            normal += 1e-10 * np.trace(normal) * np.eye(rank) / rank
            mixed = np.einsum("ar,br->abr", one, other).reshape(-1, rank)
            parts[axis] = np.linalg.solve(normal, (flat[axis] @ mixed).T).T
            if axis:
                lengths = np.linalg.norm(parts[axis], axis=0)
                parts[axis] = parts[axis] / np.where(lengths > 0, lengths, 1.0)
        error = float(np.sum((flat[0] - parts[0] @ mixed.T) ** 2))
        if before - error <= _ENOUGH * power:
            break
        before = error
    return error, (parts[0], parts[1], parts[2])
