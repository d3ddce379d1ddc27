"""Matrices as products of two thinner ones, best for what they are multiplied by.

X W is to be kept for rows X that are known by G = XᵀX: the best product of rank r leaves the least tr((W - W')ᵀ G (W -
W')), and it comes of the eigenvectors of Wᵀ G W (the principal components of the outputs: Zhang et al. 2016,
"Accelerating Very Deep Convolutional Networks", 2.2; Chen et al. 2021, "DRONE: Data-aware Low-rank Compression"), or
of those of S W Wᵀ S with S² = G where W has fewer rows than columns. Without data G is 1, and it is the truncated SVD.
"""

from dataclasses import dataclass

import numpy as np

from edgekit_converters.compress.moments import Moments
from edgekit_converters.graph.weights import Reals

DAMPING = 1e-3
"""Of the mean power of an input, that every direction is given: what the samples do not show is not worth nothing."""
_SMALLEST = 1e-4
"""A component counts at least as much of the largest one when both factors share its scale."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Split:
    """W [rows, columns] = first [rows, k] @ last [k, columns]; `squares` [k] fall: what each rank is worth."""

    first: Reals
    last: Reals
    squares: Reals


def split(matrix: Reals, gram: Reals | None) -> Split:
    """Return a matrix [rows, columns] as two, its ranks in the order of what they are worth for `gram` [rows, rows]."""
    rows, columns = matrix.shape
    if columns <= rows:
        weighted = matrix if gram is None else gram @ matrix
        squares, vectors = _eigen(matrix.T @ weighted)
        first, last = matrix @ vectors, vectors.T
        powers = squares
    else:
        root, inverse = (np.eye(rows),) * 2 if gram is None else _roots(gram)
        seen = root @ matrix
        squares, vectors = _eigen(seen @ seen.T)
        first, last = inverse @ vectors, vectors.T @ seen
        powers = 1 / np.maximum(squares, (_SMALLEST**2) * squares[:1])
    # What lies between the two has a standard deviation of `powers` ** 0.5: shared, it suits coarse numbers best.
    scales = np.maximum(powers, (_SMALLEST**2) * powers.max(initial=0.0)) ** 0.25
    scales[scales == 0] = 1.0
    return Split(first=first / scales, last=last * scales[:, None], squares=np.maximum(squares, 0.0))


def lost(difference: Reals, gram: Reals | None) -> float:
    """Return tr(Dᵀ G D) of a matrix D [rows, columns]."""
    return float(np.sum(difference * (difference if gram is None else gram @ difference)))


def refitted(basis: Reals, matrix: Reals, gram: Reals) -> Reals:
    """Return the C [k, columns] with the least tr((W - B C)ᵀ G (W - B C)) for a basis B [rows, k]."""
    weighted = gram @ basis
    normal = basis.T @ weighted
    normal[np.diag_indices_from(normal)] += 1e-12 * float(np.trace(normal)) / len(normal)
    return np.asarray(np.linalg.solve(normal, weighted.T @ matrix), np.float64)


def covariance(moments: Moments) -> Reals | None:
    """Return what rows vary by, damped [columns, columns]; None where they do not vary. A mean is the bias's."""
    mean = moments.total / moments.count
    found = moments.gram / moments.count - np.outer(mean, mean)
    power = float(np.trace(found)) / len(found)
    # A difference of large numbers that are equal leaves their rounding.
    if not power > 1e-12 * float(np.trace(moments.gram)) / moments.count / len(found):
        return None
    damped: Reals = found + DAMPING * power * np.eye(len(found))
    return damped


def _roots(gram: Reals) -> tuple[Reals, Reals]:
    values, vectors = np.linalg.eigh(gram)
    values = np.sqrt(np.maximum(values, 1e-12 * values[-1]))
    return (vectors * values) @ vectors.T, (vectors / values) @ vectors.T


def _eigen(matrix: Reals) -> tuple[Reals, Reals]:
    values, vectors = np.linalg.eigh(matrix)
    return values[::-1], vectors[:, ::-1]
