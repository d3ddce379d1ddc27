"""Metrics of classifiers: top-1, top-5, F1, area under the ROC curve."""

from functools import partial

import numpy as np
from numpy.typing import NDArray

from edgekit._metrics.scored import Scored, Values, Weights, label, real
from edgekit.errors import DataError
from edgekit_converters.model import Array, Arrays

_TWO = 2  # classes, or axes of [N, classes]
_NEARLY_ONE = 0.02  # a sum of probabilities that were quantized to 8 bits
Numbers = NDArray[np.int64]


def top(outputs: Arrays, labels: Arrays, *, best: int) -> Scored:
    """Share of samples whose label is among the `best` largest classes; of equal ones the first count.

    The classifying output is the only one of shape [N, classes]; with several, the first.
    """
    values = _classifying(outputs, f"top{best}")
    count = values.shape[1]
    numbers = _numbers(labels, f"top{best}", len(values))
    if count <= best > 1:
        raise DataError(f"top{best} of {count} classes is always 1: take top1")
    _check_range(numbers, count)
    own = values[np.arange(len(values)), numbers][:, None]
    before = (values > own) | ((values == own) & (np.arange(count) < numbers[:, None]))
    # a row with NaN answers nothing
    right = (before.sum(axis=1) < best) & ~np.isnan(values).any(axis=1)
    return Scored(len(right), lambda weights: float(weights @ right / weights.sum()), hits=int(right.sum()))


def f1(outputs: Arrays, labels: Arrays, *, threshold: float = 0.5) -> Scored:
    """Harmonic mean of precision and recall.

    Of an output [N, classes] the largest class is predicted and the classes' scores are averaged (macro),
    over those that are a label or a prediction. Of [N] or [N, 1] what is at least `threshold` is class 1, and
    its score is the value.
    """
    name, scores = _single(outputs)
    if scores is not None:
        predicted = (real(name, scores) >= threshold).astype(np.int64)
        count = _TWO
    else:
        values = _classifying(outputs, "f1")
        predicted, count = values.argmax(axis=1), values.shape[1]
    numbers = _numbers(labels, "f1", len(predicted))
    _check_range(numbers, count)
    return Scored(len(numbers), partial(_f1, numbers, predicted, count, scores is not None))


def _f1(truth: Numbers, predicted: Numbers, count: int, binary: bool, weights: Weights) -> float:
    both = np.bincount(truth[truth == predicted], weights[truth == predicted], count)
    either = np.bincount(truth, weights, count) + np.bincount(predicted, weights, count)
    if binary:
        return float(2 * both[1] / either[1]) if either[1] else 0.0
    there = either > 0
    return float(np.mean(2 * both[there] / either[there]))


def auc(outputs: Arrays, labels: Arrays) -> Scored:
    """Area under the ROC curve: the share of (positive, negative) pairs in order, equal scores count half.

    Of an output [N] or [N, 1] large values mean class 1; of [N, 2] the second
    where they are probabilities, else the difference; of more classes each
    against the rest, averaged over those that have samples on both sides. Equal to the Mann-Whitney statistic.
    """
    name, scores = _single(outputs)
    values = real(name, scores)[:, None] if scores is not None else real("of classes", _classifying(outputs, "auc"))
    numbers = _numbers(labels, "auc", len(values))
    if values.shape[1] == _TWO:
        shares = np.allclose(values.sum(axis=1), 1, atol=_NEARLY_ONE)
        values = values[:, 1:] if shares else values[:, 1:] - values[:, :1]
    _check_range(numbers, max(_TWO, values.shape[1]))
    columns = [(1, values[:, 0])] if values.shape[1] == 1 else list(enumerate(values.T))
    parts = [_Ranked(column, numbers == number) for number, column in columns]
    if not any(part.both_sides for part in parts):
        raise DataError("auc needs samples of at least two classes and the labels have one")

    def of(weights: Weights) -> float:
        areas = [part.area(weights) for part in parts]
        there = [area for area in areas if area is not None]
        return float(np.mean(there)) if there else float("nan")

    return Scored(len(numbers), of)


class _Ranked:
    """Scores in order, equal ones together."""

    def __init__(self, scores: Values, positive: NDArray[np.bool_]) -> None:
        unique, self._place = np.unique(scores, return_inverse=True)
        self._count, self._positive = len(unique), positive
        self.both_sides = 0 < positive.sum() < len(positive)

    def area(self, weights: Weights) -> float | None:
        up = np.bincount(self._place, weights * self._positive, self._count)
        down = np.bincount(self._place, weights * ~self._positive, self._count)
        pairs = up.sum() * down.sum()
        below = np.cumsum(down) - down
        return float(up @ (below + down / 2) / pairs) if pairs else None


def _single(outputs: Arrays) -> tuple[str, Array | None]:
    """Return the output of one value a sample where there is no other, as [N]."""
    for name, array in outputs.items():
        if array.size == len(array):
            return name, array.reshape(-1)
        if array.ndim >= _TWO and array.reshape(len(array), -1).shape[1] == max(array.shape[1:]):
            break
    return "", None


def _classifying(outputs: Arrays, metric: str) -> Values:
    for array in outputs.values():
        flat = array.reshape(len(array), -1)
        if array.ndim >= _TWO and flat.shape[1] > 1 and flat.shape[1] == max(array.shape[1:]):  # [N, C], [N, C, 1, 1]
            return np.asarray(flat, dtype=np.float64)
    raise DataError(f"{metric} needs an output of shape [N, classes] and the model has none")


def _numbers(labels: Arrays, metric: str, samples: int) -> Numbers:
    """Return the labels as class numbers [N], also from one-hot rows."""
    given = label(labels, "y", metric)
    rows = given.reshape(len(given), -1)
    if len(rows) != samples:
        raise DataError(f"there are {len(rows)} labels for outputs of {samples} samples")
    if rows.shape[1] > 1 and given.ndim == _TWO:
        return np.asarray(rows.argmax(axis=1), dtype=np.int64)
    numbers = rows[:, 0].astype(np.int64)
    if rows.shape[1] != 1 or not np.array_equal(numbers, rows[:, 0]):
        raise DataError(f"{metric} needs class numbers [N] or one-hot labels [N, classes], and the labels are neither")
    return numbers


def _check_range(numbers: Numbers, count: int) -> None:
    if numbers.max(initial=0) >= count or numbers.min(initial=0) < 0:
        wrong = numbers[(numbers >= count) | (numbers < 0)][0]
        raise DataError(f"label {wrong} is outside the model's {count} classes")
