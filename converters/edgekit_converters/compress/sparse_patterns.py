"""Which weights of a matrix go: any of them, N of every M kept, or whole blocks."""

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit_converters.graph.weights import Reals
from edgekit_converters.precisions import Option

Mask = NDArray[np.bool_]
"""True where a weight stays."""

_MOST = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Pattern:
    """How zeros lie in a matrix [outputs, inputs]: blocks of `rows` x `columns`, or `kept` of every `columns`."""

    text: str
    rows: int = 1
    columns: int = 1
    kept: int = 0
    """Weights of every `columns` in a row that stay; 0 where blocks go as a whole."""

    @property
    def sparsity(self) -> float | None:
        """The share of zeros, where the pattern says it."""
        return 1 - self.kept / self.columns if self.kept else None

    def why_not(self, outputs: int, inputs: int) -> str:
        """Return why a layer with so many outputs and inputs a group cannot have it, or nothing."""
        if inputs % self.columns:
            return f"its {inputs} inputs are no multiple of the pattern's {self.columns}"
        if outputs % self.rows:
            return f"its {outputs} outputs are no multiple of the pattern's {self.rows}"
        return ""

    def units(self, scores: Reals) -> Reals:
        """Return the mean score of what goes or stays as a whole, of scores [..., columns]."""
        if self.kept:
            return scores
        rows = scores.reshape(-1, self.rows, scores.shape[-1] // self.columns, self.columns)
        return np.asarray(rows.mean(axis=(1, 3)), np.float64)

    def keep(self, scores: Reals, sparsity: float) -> Mask:
        """Return which weights stay: those with the largest scores [..., columns].

        `sparsity` is the share that goes where the pattern leaves it free; of equal scores the first go.
        """
        if self.kept:
            groups = scores.reshape(-1, self.columns)
            places = np.argsort(-groups, axis=1, kind="stable")
            inside = np.zeros(groups.shape, np.bool_)
            np.put_along_axis(inside, places[:, : self.kept], values=True, axis=1)
            return inside.reshape(scores.shape)
        units = self.units(scores)
        stays = np.ones(units.size, np.bool_)
        stays[np.argsort(units, axis=None, kind="stable")[: round(sparsity * units.size)]] = False
        wide = np.repeat(np.repeat(stays.reshape(units.shape), self.rows, axis=0), self.columns, axis=1)
        return wide.reshape(scores.shape)


def pattern_of(text: str) -> Pattern:
    """Read `none`, `N:M` or `RxC`.

    Raises:
        ValueError: if it is none of them.
    """
    if text == "none":
        return Pattern(text=text)
    found = re.fullmatch(r"(\d{1,2})([:x])(\d{1,2})", text)
    if found is None:
        raise ValueError(text)
    first, second = int(found[1]), int(found[3])
    if found[2] == ":" and 0 < first < second <= _MOST:
        return Pattern(text=f"{first}:{second}", kept=first, columns=second)
    if found[2] == "x" and 0 < first <= _MOST and 0 < second <= _MOST and first * second > 1:
        return Pattern(text=f"{first}x{second}", rows=first, columns=second)
    raise ValueError(text)


PATTERN = Option(
    read=lambda text: pattern_of(text).text,
    default="none",
    help="how zeros lie: anywhere, N of every M inputs kept, or blocks of outputs x inputs",
    takes="none, N:M (2:4), RxC (1x4)",
)
"""The option of a technique."""
