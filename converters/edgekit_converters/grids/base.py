"""The port of every numeric grid: rows of reals to codes of a few bits, and back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.float64]
Codes = NDArray[np.int16]
Tables = Mapping[str, Reals]
"""What the codes are read with, by name: arrays [rows, values a row]."""


class Grid(Protocol):
    """A grid. Rows [R, n] have no NaN; each row has tables of its own."""

    @property
    def bits(self) -> int:
        """How many bits a code has."""
        ...

    def table_bits(self) -> Mapping[str, int]:
        """Return how many bits a value of each table is stored in; none for a table that is the same for all rows."""
        ...

    def fit(self, rows: Reals, weights: Reals | None = None) -> Tables:
        """Return the tables that suit the rows; `weights` [R, n] say how much each value's error counts."""
        ...

    def encode(self, rows: Reals, tables: Tables) -> Codes:
        """Return the nearest point of the grid for every value, as a code of `bits` bits."""
        ...

    def decode(self, codes: Codes, tables: Tables) -> Reals:
        """Return what the codes stand for."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Sharing:
    """Which values share tables: those of a channel or of the whole tensor, or `group` after one another in it."""

    per_channel: bool = True
    group: int = 0
    """0: all of the channel or tensor."""


def nearest(rows: Reals, points: Reals) -> Codes:
    """Return for every value of rows [R, n] the place of the nearest of its row's sorted points [R, k]."""
    middles = (points[:, 1:] + points[:, :-1]) / 2
    codes = [np.searchsorted(between, row) for row, between in zip(rows, middles, strict=True)]
    return np.array(codes, dtype=np.int16).reshape(rows.shape)


def best_of(grid: Grid, rows: Reals, candidates: list[Tables], weights: Reals | None) -> Tables:
    """Return for each row the candidate tables with the smallest squared error; the first among equals."""
    each = np.ones((1, 1)) if weights is None else weights
    errors = [
        (each * (grid.decode(grid.encode(rows, tables), tables) - rows) ** 2).sum(axis=1) for tables in candidates
    ]
    chosen = np.argmin(errors, axis=0)
    every = np.arange(len(rows))
    return {name: np.stack([one[name] for one in candidates])[chosen, every] for name in candidates[0]}
