"""A grid fitted to an array: its codes and tables, what they stand for, and what they take to store."""

import math
from dataclasses import dataclass

import numpy as np

from edgekit_converters.grids.base import Codes, Grid, Reals, Sharing, Tables
from edgekit_converters.model import Array


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A grid with the tables of an array of one shape."""

    grid: Grid
    tables: Tables
    """Arrays [rows, values a row]; a row is what shares tables, the groups of a channel one after another."""
    shape: tuple[int, ...]
    axis: int | None
    """The axis of the channels; None where the whole tensor counts as one."""
    group: int

    def encode(self, array: Array) -> Codes:
        """Return the codes of an array of the fitted shape, in that shape."""
        codes = self.grid.encode(_rows(array, self.axis, self.group), self.tables)
        return np.asarray(self._unfolded(codes), dtype=np.int16)

    def snap(self, array: Array) -> Reals:
        """Return an array of the fitted shape with every value at its nearest point of the grid."""
        codes = self.grid.encode(_rows(array, self.axis, self.group), self.tables)
        return np.asarray(self._unfolded(self.grid.decode(codes, self.tables)), dtype=np.float64)

    @property
    def stored_bits(self) -> int:
        """What codes and tables take to store."""
        tables = sum(self.tables[name].size * bits for name, bits in self.grid.table_bits().items())
        return math.prod(self.shape) * self.grid.bits + tables

    def _unfolded(self, rows: Array) -> Array:
        """Undo `_rows`."""
        if self.axis is None:
            return rows.reshape(-1)[: math.prod(self.shape)].reshape(self.shape)
        channels, count = self.shape[self.axis], math.prod(self.shape) // self.shape[self.axis]
        moved = (channels, *self.shape[: self.axis], *self.shape[self.axis + 1 :])
        return np.moveaxis(rows.reshape(channels, -1)[:, :count].reshape(moved), 0, self.axis)


def fit(grid: Grid, array: Array, axis: int | None, sharing: Sharing, weights: Array | None = None) -> Fitted:
    """Fit a grid to an array of finite reals with at least one value.

    Args:
        grid: the grid.
        array: of any shape and real dtype.
        axis: where the channels lie; None where there are none.
        sharing: what shares tables. Without channels it is the tensor or a group of it.
        weights: how much the error of each value counts, an array like the first.
    """
    channels = axis if sharing.per_channel and axis is not None and array.ndim else None
    place = None if channels is None else channels % array.ndim
    tables = grid.fit(
        _rows(array, place, sharing.group), None if weights is None else _rows(weights, place, sharing.group)
    )
    return Fitted(grid=grid, tables=tables, shape=array.shape, axis=place, group=sharing.group)


def snr_db(signal: Array, noisy: Array) -> float:
    """Return the ratio of the signal's power to the difference's, in decibels; infinite where there is none."""
    wanted, got = np.asarray(signal, dtype=np.float64), np.asarray(noisy, dtype=np.float64)
    noise = float(np.sum((wanted - got) ** 2))
    power = float(np.sum(wanted**2))
    if noise == 0:
        return math.inf
    return 10 * math.log10(power / noise) if power else -math.inf


def _rows(array: Array, axis: int | None, group: int) -> Reals:
    """Return an array as rows of what shares tables; a last group that is short repeats its last value."""
    values = np.asarray(array, dtype=np.float64)
    rows = values.reshape(1, -1) if axis is None else np.moveaxis(values, axis, 0).reshape(values.shape[axis], -1)
    if not group:
        return rows
    return np.pad(rows, ((0, 0), (0, -rows.shape[1] % group)), mode="edge").reshape(-1, group)
