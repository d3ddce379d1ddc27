"""What taking a unit of channels out does: by the size of its weights, or by what layers lose on calibration data."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.compress.groups.layer_rules import Layer
from edgekit_converters.compress.groups.ties import Labels
from edgekit_converters.compress.groups.units import Block, Groups
from edgekit_converters.compress.moments import Moments
from edgekit_converters.graph.reading import name_of
from edgekit_converters.graph.scaling import groups_of
from edgekit_converters.graph.weights import Reals

Places = NDArray[np.integer[Any]]

RIDGE = 1e-3
"""What is added to the diagonal of second moments, as a share of its mean: few samples do not span all columns."""


class Scores(Protocol):
    """The damage of every unit; asked again after some have gone."""

    def of(self, block: Block) -> Reals:
        """Return the damage of every unit of a block, by its place; what it says of one that has gone means nothing."""
        ...

    def remove(self, units: Collection[int]) -> None:
        """Hear that units have gone."""
        ...


class Magnitudes:
    """The norms of the weights that make a unit, each layer's mean taken as 1 (Li et al. 2016, arXiv 1608.08710)."""

    def __init__(self, groups: Groups, order: int) -> None:
        """Take the order of the norm, 1 or 2."""
        self._scores = {
            id(block): np.sum([_norms(groups.labels, one, block, order) for one in block.producers], axis=0)
            for block in groups.blocks
        }

    def of(self, block: Block) -> Reals:
        """Return the sum over the layers that make it."""
        return np.asarray(self._scores[id(block)])

    def remove(self, units: Collection[int]) -> None:
        """Nothing changes: the others' weights are as large as they were."""


def _norms(labels: Labels, layer: Layer, block: Block, order: int) -> Reals:
    array = np.moveaxis(layer.weights.array, layer.made, 0)
    norms = np.linalg.norm(array.reshape(len(array), -1), order, axis=1)
    sums = np.bincount(labels.of(layer.weights.value, layer.made), norms, minlength=int(block.units.max()) + 1)
    return np.asarray(sums[block.units] / max(float(norms.mean()), 1e-30))


class Losses:
    """What the layers that take a unit lose, as shares of the variance at their results, summed over them.

    `diagonal`: the power of what a unit brings, |W|²·|X|², as if channels were not alike (as Sun et al. 2023, arXiv
    2306.11695, do it for single weights). Otherwise with all second moments H = XᵀX (Hassibi and Stork 1992):
    W_SᵀH_SSW_S when the others stay as they are, W_Sᵀ(H⁻¹_SS)⁻¹W_S when they are re-fitted, where H⁻¹ and W are kept
    up with what has gone (block by block as Kurtic et al. 2023, "ZipLM").
    """

    def __init__(
        self, groups: Groups, moments: Mapping[str, Sequence[Moments]], powers: Mapping[str, float], how: str
    ) -> None:
        """Take the moments of all takers and the variances at their results, by the layers' names.

        Args:
            groups: what can be taken out.
            moments: of what the takers take, an entry a group.
            powers: the sums over a layer's channels of the variance of its result.
            how: `diagonal`, `kept` or `refitted`.
        """
        kind = {"diagonal": _Diagonal, "kept": _Kept, "refitted": _Refitted}[how]
        self._takers = {
            name_of(layer.node): [
                kind(one, *parts, power=powers[name_of(layer.node)])
                for one, parts in zip(moments[name_of(layer.node)], _groups(groups.labels, layer), strict=True)
            ]
            for layer in groups.layers
            if name_of(layer.node) in moments
        }
        self._blocks = groups.blocks
        self._known: dict[int, Reals] = {}

    def of(self, block: Block) -> Reals:
        """Return the sum over the layers that take it."""
        if id(block) not in self._known:
            takers = [taker for layer in block.takers for taker in self._takers[name_of(layer.node)]]
            self._known[id(block)] = np.sum([one.losses(block.units) for one in takers], axis=0)
        return self._known[id(block)]

    def remove(self, units: Collection[int]) -> None:
        """Take them out of what is known of the layers."""
        changed = {name for name, takers in self._takers.items() if max([one.remove(units) for one in takers])}
        for block in self._blocks:
            if any(name_of(layer.node) in changed for layer in block.takers):
                self._known.pop(id(block), None)


def _groups(labels: Labels, layer: Layer) -> list[tuple[Reals, Places, Places]]:
    """Return of every group of a layer its weights [columns, outputs], and the units of columns and outputs."""
    if layer.taken is None:
        raise AssertionError("a depthwise layer takes nothing together")
    array, count = layer.weights.array, groups_of(layer.node)
    inputs = np.array(labels.of(layer.weights.value, layer.taken))
    outputs = np.array(labels.of(layer.weights.value, layer.made))
    if layer.node.op_type == "Conv":
        columns = np.repeat(inputs, int(np.prod(array.shape[2:])))
        return [
            (one.reshape(len(one), -1).T, columns, of)
            for one, of in zip(np.split(array, count), np.split(outputs, count), strict=True)
        ]
    if layer.node.op_type == "ConvTranspose":
        behind = int(np.prod(array.shape[2:]))
        return [
            (one.reshape(len(one), -1), of, np.repeat(outputs, behind))
            for one, of in zip(np.split(array, count), np.split(inputs, count), strict=True)
        ]
    matrix = np.moveaxis(array, (layer.taken, layer.made), (-2, -1)).reshape(-1, len(inputs), len(outputs))
    # the matrices of a batch share their rows' moments
    return [(np.concatenate(list(matrix), axis=1), inputs, np.tile(outputs, len(matrix)))]


class _Diagonal:
    """A taker judged by its columns' powers alone."""

    def __init__(self, moments: Moments, weights: Reals, columns: Places, outputs: Places, *, power: float) -> None:
        self.weights, self.columns, self.outputs = weights.copy(), columns, outputs
        self.power = max(power, 1e-30)
        self.gram = self.moments(moments)

    def moments(self, moments: Moments) -> Reals:
        return np.diag(np.diag(moments.gram / moments.count))

    def losses(self, units: Places) -> Reals:
        """Return what is lost with each unit."""
        order = np.argsort(self.columns, kind="stable")
        begin, end = (np.searchsorted(self.columns[order], units, side) for side in ("left", "right"))
        found = np.zeros(len(units))
        for size in set((end - begin).tolist()) - {0}:
            which = np.flatnonzero(end - begin == size)
            found[which] = self.lost(order[begin[which, None] + np.arange(size)])
        return found / self.power

    def lost(self, index: Places) -> Reals:
        """Return what is lost with the columns of each row of an index [units, columns]."""
        weights = self.weights[index]
        return self.form(weights, self.gram[index[:, :, None], index[:, None, :]])

    def form(self, weights: Reals, gram: Reals) -> Reals:
        return np.asarray(np.einsum("uso,uso->u", weights, gram @ weights))

    def remove(self, units: Collection[int]) -> bool:
        """Forget columns and outputs that have gone; return whether any have."""
        gone = list(units)
        columns, outputs = np.flatnonzero(np.isin(self.columns, gone)), np.isin(self.outputs, gone)
        if len(columns):
            self.take(columns)
        self.weights[:, outputs] = 0.0
        return bool(len(columns) or outputs.any())

    def take(self, columns: Places) -> None:
        self.weights[columns] = 0.0


class _Kept(_Diagonal):
    """A taker whose weights stay: what has gone already may add up with what goes, or make it good."""

    def moments(self, moments: Moments) -> Reals:
        self.missing = np.zeros_like(self.weights)
        return moments.gram / moments.count

    def lost(self, index: Places) -> Reals:
        cross = np.einsum("uso,uso->u", self.weights[index], self.missing[index])
        return np.asarray(super().lost(index) + 2 * cross)

    def take(self, columns: Places) -> None:
        self.missing += self.gram[:, columns] @ self.weights[columns]
        super().take(columns)


class _Refitted(_Diagonal):
    """A taker that is re-fitted, with a bias: `gram` is the inverse of the covariances of the columns left."""

    def moments(self, moments: Moments) -> Reals:
        mean = moments.total / moments.count
        covariance = moments.gram / moments.count - np.outer(mean, mean)
        least = RIDGE * float(np.trace(covariance)) / len(mean) + 1e-30
        held = shrunk(covariance, moments.count) + least * np.eye(len(mean))
        return np.asarray(np.linalg.inv(held), np.float64)

    def form(self, weights: Reals, gram: Reals) -> Reals:
        gone = np.trace(gram, axis1=1, axis2=2) <= 0  # units that are not there any more
        gram = np.where(gone[:, None, None], np.eye(gram.shape[1]), gram)
        return np.asarray(np.einsum("uso,uso->u", weights, np.linalg.solve(gram, weights)))

    def take(self, columns: Places) -> None:
        across = self.gram[:, columns]
        share = np.linalg.solve(self.gram[np.ix_(columns, columns)], np.hstack([self.weights[columns], across.T]))
        self.weights -= across @ share[:, : self.weights.shape[1]]
        self.gram -= across @ share[:, self.weights.shape[1] :]
        self.weights[columns], self.gram[columns], self.gram[:, columns] = 0.0, 0.0, 0.0


def shrunk(covariance: Reals, rows: int) -> Reals:
    """Return covariances as they are likely to be beyond the rows they were taken from.

    Of fewer rows than columns every column seems to be made of others, and nothing to be lost with it. Oracle
    approximating shrinkage towards equal, independent columns (Chen, Wiesel, Eldar and Hero, 2010, equation 23); with
    many rows it is next to nothing.

    Args:
        covariance: [columns, columns], of their rows.
        rows: how many there were.
    """
    columns = len(covariance)
    trace, power = float(np.trace(covariance)), float((covariance**2).sum())
    apart = power - trace**2 / columns
    if apart <= 0:
        return covariance
    share = min(1.0, ((1 - 2 / columns) * power + trace**2) / ((rows + 1 - 2 / columns) * apart))
    made: Reals = (1 - share) * covariance + share * trace / columns * np.eye(columns)
    return made
