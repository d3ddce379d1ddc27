"""Metrics of outputs that are values: mean absolute and squared error, cosine, rank correlation."""

from collections.abc import Callable
from functools import partial

import numpy as np

from edgekit._metrics.scored import Scored, Values, Weights, label, mean_of, real
from edgekit.errors import DataError
from edgekit_converters.model import Array, Arrays

_TWO = 2
OneSample = Callable[[Values, Values], Values]
"""Outputs and what is wanted, each [N, values], to a value a sample [N]."""


def absolute(got: Values, wanted: Values) -> Values:
    """Mean absolute error of each sample."""
    return np.asarray(np.abs(got - wanted).mean(axis=1))


def squared(got: Values, wanted: Values) -> Values:
    """Mean squared error of each sample."""
    return np.asarray(((got - wanted) ** 2).mean(axis=1))


def cosines(got: Values, wanted: Values) -> Values:
    """Cosine of the angle between each sample's two vectors: 1 where both are 0, 0 where one is."""
    norms = np.linalg.norm(got, axis=1) * np.linalg.norm(wanted, axis=1)
    same = (got == wanted).all(axis=1)
    safe = np.where(norms == 0, 1, norms)
    return np.asarray(np.where(norms == 0, same, np.clip((got * wanted).sum(axis=1) / safe, -1, 1)))


def against_labels(outputs: Arrays, labels: Arrays, *, each: OneSample, metric: str) -> Scored:
    """Mean over the samples of a comparison with the labels `y` [N, ...].

    The output is the first that has as many values a sample as the labels.
    """
    wanted = label(labels, "y", metric)
    flat = real("y", wanted).reshape(len(wanted), -1)
    for name, array in outputs.items():
        if array.size == flat.size and len(array) == len(flat):
            return mean_of(each(real(name, array).reshape(len(flat), -1), flat))
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    raise DataError(f"{metric} needs an output of the labels' shape {list(wanted.shape)}; there are: {shapes}")


def against_source(outputs: Arrays, source: Arrays, *, each: OneSample) -> Scored:
    """Mean over the samples and all outputs of a comparison with the source model's outputs.

    Raises:
        DataError: if an output is missing or has another shape.
    """
    parts = []
    for name, wanted in source.items():
        got = outputs.get(name)
        if got is None or got.shape != wanted.shape:
            how = "is missing" if got is None else f"has shape {got.shape} where the source has {wanted.shape}"
            raise DataError(f"output '{name}' {how}")
        flat = (len(wanted), -1)
        parts.append(each(real(name, got).reshape(flat), real(name, wanted).reshape(flat)))
    return mean_of(np.mean(parts, axis=0))


def spearman(outputs: Arrays, labels: Arrays) -> Scored:
    """Spearman's rank correlation of predictions with the labels [N]; equal values share their mean rank.

    An output [N] or [N, 1] is the prediction. Of an output [2N, D] rows 2i and 2i + 1 are a pair, and the cosine
    of their angle is the prediction (sentence similarity). Predictions that are all equal correlate with nothing: 0.
    """
    wanted = real("y", label(labels, "y", "spearman")).reshape(-1)
    if len(np.unique(wanted)) < _TWO:
        raise DataError("spearman needs labels that differ and all are equal")
    predicted = _predictions(outputs, len(wanted))
    return Scored(len(wanted), partial(_rank_correlation, _places(predicted), _places(wanted)))


def _predictions(outputs: Arrays, samples: int) -> Values:
    for name, array in outputs.items():
        if array.size == samples == len(array):
            return real(name, array).reshape(-1)
    for name, array in outputs.items():
        if array.ndim == _TWO and len(array) == 2 * samples:
            rows = real(name, array)
            return cosines(rows[0::2], rows[1::2])
    shapes = ", ".join(f"{name} {list(array.shape)}" for name, array in outputs.items())
    error = DataError(f"spearman needs an output [{samples}], or embeddings [{2 * samples}, D]; there are: {shapes}")
    error.add_note("embeddings of pairs: rows 2i and 2i + 1 of the data belong to label i")
    raise error


def _places(values: Values) -> Array:
    return np.asarray(np.unique(values, return_inverse=True)[1])


def _rank_correlation(a: Array, b: Array, weights: Weights) -> float:
    total = weights.sum()
    x, y = (_ranks(places, weights) for places in (a, b))
    x, y = x - weights @ x / total, y - weights @ y / total
    spread = np.sqrt((weights @ x**2) * (weights @ y**2))
    return float(weights @ (x * y) / spread) if spread else 0.0


def _ranks(places: Array, weights: Weights) -> Values:
    each = np.bincount(places, weights)
    return np.asarray((np.cumsum(each) - each + (each + 1) / 2)[places])
