"""What layers take on calibration data: in the model as it was, and in the one whose first layers are changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Setting
from edgekit_converters.compress.lowrank.sites import Site
from edgekit_converters.compress.lowrank.splitting import covariance
from edgekit_converters.compress.moments import Moments, moments_of, rows_of
from edgekit_converters.graph.weights import Reals
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_COLUMNS = 8192
"""Of a layer whose inputs' covariance is looked at: one of so many takes half a gigabyte."""
_HALVES = (0, 1)
"""Of the samples: what is fitted to one is tried on the other."""
_PULLS = (1e-3, 1e-2, 1e-1, 1.0, np.inf)
"""Of the mean power of an input: how strongly a fit is drawn to the layer's own weights."""
_NO_SHIFT = 1e-6
"""Of the largest mean of an output: what no bias is added for."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Task:
    """What a layer's factors are to come near: a kernel, by the covariance of what it takes; a group each in lists.

    `mean` is that of what it takes, `wanted` [groups, outputs] that of what it shall give; None without data.
    """

    kernel: Reals
    grams: Sequence[Reals | None]
    mean: Sequence[Reals] | None = None
    wanted: Reals | None = None

    def shift(self, kernel: Reals) -> Reals | None:
        """Return [outputs] that a layer with another kernel has to add; None without data, or if it is nothing."""
        if self.mean is None or self.wanted is None:
            return None
        given = np.stack([_matrix(one).T @ mean for one, mean in zip(kernel, self.mean, strict=True)])
        found = (self.wanted - given).ravel()
        return found if np.abs(found).max() > _NO_SHIFT * np.abs(self.wanted).max() else None


def tasks(model: "ir.Model", sites: Sequence[Site], arrays: Arrays | None, file: Path, seed: int) -> list[Task]:
    """Return each layer's task: to do what it does.

    Raises:
        CalibrationError: if the model stops on the samples.
    """
    seen = [one for one in sites if arrays is not None and one.kernel[0, 0].size <= MOST_COLUMNS]
    found = moments_of(model, [one.weights for one in seen], arrays or {}, file, seed)
    return [_task(one, found.get(one.name)) for one in sites]


def _task(site: Site, moments: Sequence[Moments] | None) -> Task:
    if moments is None:
        return Task(kernel=site.kernel, grams=[None] * len(site.kernel))
    mean = [one.total / one.count for one in moments]
    wanted = np.stack([_matrix(kernel).T @ one for kernel, one in zip(site.kernel, mean, strict=True)])
    return Task(kernel=site.kernel, grams=[covariance(one) for one in moments], mean=mean, wanted=wanted)


def later_task(model: "ir.Model", original: "ir.Model", site: Site, arrays: Arrays, setting: Setting) -> Task:
    """Return a layer's task in a changed model: to give what it gave in the original, of what it takes now.

    The kernel that does so best is a least-squares fit, drawn to the layer's own so far as makes it fit best for
    samples that it was not fitted to.

    Raises:
        CalibrationError: if a model stops on the samples.
    """
    count = min(map(len, arrays.values()))
    if site.kernel[0, 0].size > MOST_COLUMNS or count < len(_HALVES):
        return _task(site, None)
    halves = []
    for half in _HALVES:
        part = {name: array[count // 2 :] if half else array[: count // 2] for name, array in arrays.items()}
        halves.append(_pairs((model, original), site, part, setting))
    pull = min(_PULLS, key=lambda one: _lost_on_others(site.kernel, halves, one))
    pairs = [one + other for one, other in zip(*halves, strict=True)]
    fitted = [_fitted(_matrix(one), pair, pull) for one, pair in zip(site.kernel, pairs, strict=True)]
    return Task(
        kernel=np.stack([one.T.reshape(site.kernel.shape[1:]) for one in fitted]),
        grams=[covariance(pair.now) for pair in pairs],
        mean=[pair.now.total / pair.now.count for pair in pairs],
        wanted=np.stack(
            [_matrix(one).T @ (pair.then / pair.now.count) for one, pair in zip(site.kernel, pairs, strict=True)]
        ),
    )


@dataclass(slots=True)
class _Pair:
    """Moments of rows now, the sum [columns] of the rows then, and the products [columns, columns] of both."""

    now: Moments
    then: Reals
    products: Reals

    def __add__(self, other: "_Pair") -> "_Pair":
        now = Moments(
            self.now.count + other.now.count, self.now.total + other.now.total, self.now.gram + other.now.gram
        )
        return _Pair(now, self.then + other.then, self.products + other.products)

    def covariances(self) -> tuple[Reals, Reals]:
        """Return those of the rows now, and of the rows now with those then."""
        count, mean = self.now.count, self.now.total / self.now.count
        return (
            self.now.gram / count - np.outer(mean, mean),
            self.products / count - np.outer(mean, self.then / count),
        )


def _pairs(models: Sequence["ir.Model"], site: Site, arrays: Arrays, setting: Setting) -> list[_Pair]:
    found: list[_Pair] = []
    both = [
        rows_of(one, [site.weights], arrays, setting.work / f"rows-{at}.onnx", setting.seed)
        for at, one in enumerate(models)
    ]
    for (_, now), (_, then) in zip(*both, strict=True):
        made = [
            _Pair(Moments(len(one), one.sum(axis=0), one.T @ one), other.sum(axis=0), one.T @ other)
            for one, other in zip(now, then, strict=True)
        ]
        found = [one + other for one, other in zip(found, made, strict=True)] if found else made
    return found


def _fitted(matrix: Reals, pair: _Pair, pull: float) -> Reals:
    """Return W [columns, outputs] that makes of the rows now what the given one makes of those then."""
    gram, cross = pair.covariances()
    power = float(np.trace(gram)) / len(gram)
    if not power > 0 or np.isinf(pull):
        return matrix
    normal = gram + pull * power * np.eye(len(gram))
    return np.asarray(np.linalg.solve(normal, cross @ matrix + pull * power * matrix), np.float64)


def _lost_on_others(kernel: Reals, halves: Sequence[Sequence[_Pair]], pull: float) -> float:
    """Return what fits to each half lose on the other one, but for what all fits lose alike."""
    lost = 0.0
    for seen, others in (halves, halves[::-1]):
        for one, pair, other in zip(kernel, seen, others, strict=True):
            matrix, (gram, cross) = _matrix(one), other.covariances()
            fitted = _fitted(matrix, pair, pull)
            lost += float(np.sum(fitted * (gram @ fitted - 2 * cross @ matrix)))
    return lost


def _matrix(kernel: Reals) -> Reals:
    return kernel.reshape(len(kernel), -1).T
