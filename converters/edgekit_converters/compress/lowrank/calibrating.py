"""What layers take on calibration data: in the model as it was, and in the one whose first layers are changed."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.base import Setting
from edgekit_converters.compress.lowrank.sites import Site
from edgekit_converters.compress.lowrank.splitting import DAMPING, covariance
from edgekit_converters.compress.moments import Moments, moments_of, rows_of
from edgekit_converters.graph.weights import Reals
from edgekit_converters.model import Arrays

if TYPE_CHECKING:
    import onnx_ir as ir

MOST_COLUMNS = 8192
"""Of a layer whose inputs' covariance is looked at: one of so many takes half a gigabyte."""
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

    The kernel that does so best is a least-squares fit, drawn to the layer's own as far as the samples leave it open.

    Raises:
        CalibrationError: if a model stops on the samples.
    """
    if site.kernel[0, 0].size > MOST_COLUMNS:
        return _task(site, None)
    pairs: list[_Pair] = []
    both = [
        rows_of(one, [site.weights], arrays, setting.work / f"{when}.onnx", setting.seed)
        for when, one in (("now", model), ("then", original))
    ]
    for (_, now), (_, then) in zip(*both, strict=True):
        pairs = pairs or [_Pair(one.shape[1]) for one in now]
        for pair, *rows in zip(pairs, now, then, strict=True):
            pair.add(*rows)
    kernel = np.stack([_fitted(one, pair) for one, pair in zip(site.kernel, pairs, strict=True)])
    means = [pair.then / pair.now.count for pair in pairs]
    return Task(
        kernel=kernel,
        grams=[covariance(pair.now) for pair in pairs],
        mean=[pair.now.total / pair.now.count for pair in pairs],
        wanted=np.stack([_matrix(one).T @ mean for one, mean in zip(site.kernel, means, strict=True)]),
    )


class _Pair:
    """Moments of rows now, and with those from the same places then."""

    def __init__(self, columns: int) -> None:
        self.now = Moments(0, np.zeros(columns), np.zeros((columns, columns)))
        self.then = np.zeros(columns)
        self.cross = np.zeros((columns, columns))

    def add(self, now: Reals, then: Reals) -> None:
        self.now.add(now)
        self.then += then.sum(axis=0)
        self.cross += now.T @ then


def _fitted(kernel: Reals, pair: _Pair) -> Reals:
    """Return the kernel that makes of the rows now what the old one made of those then."""
    count, gram = pair.now.count, covariance(pair.now)
    if gram is None:
        return kernel
    cross = pair.cross / count - np.outer(pair.now.total / count, pair.then / count)
    pull = np.trace(gram) / len(gram) * DAMPING / (1 + DAMPING)
    matrix = np.linalg.solve(gram, cross @ _matrix(kernel) + pull * _matrix(kernel))
    return matrix.T.reshape(kernel.shape)


def _matrix(kernel: Reals) -> Reals:
    return kernel.reshape(len(kernel), -1).T
