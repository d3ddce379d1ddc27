"""Grids whose points lie where values are: powers of two, k-means centres, quantiles of a normal distribution."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit_converters.grids.base import Codes, Reals, Tables, best_of, nearest
from edgekit_converters.grids.kmeans import centres

_EXPONENT_BITS = 8
_FLOAT_BITS = 32

NF4 = (
    -1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
    -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
    0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0,
)  # fmt: skip
"""The 16 values of NormalFloat (Dettmers et al. 2023, "QLoRA", appendix E)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Logarithmic:
    """0 and sign * 2^(top - e), e = 0 to 2^(bits-1) - 2: a product with one is a shift.

    After Miyashita et al. 2016, "Convolutional Neural Networks using Logarithmic Data Representation", with rounding
    to the nearest point instead of the nearest exponent. A code's sign is the value's, its magnitude e + 1.
    """

    bits: int = 4

    def table_bits(self) -> Mapping[str, int]:
        """Return the bits of the largest exponent."""
        return {"top": _EXPONENT_BITS}

    def fit(self, rows: Reals, weights: Reals | None = None) -> Tables:
        """Take the power of two above the largest value, or the one below where that costs less."""
        largest = np.abs(rows).max(axis=1, keepdims=True)
        above = np.ceil(np.log2(np.where(largest > np.finfo(np.float32).tiny, largest, 1.0)))
        return best_of(self, rows, [{"top": above}, {"top": above - 1}], weights)

    def encode(self, rows: Reals, tables: Tables) -> Codes:
        """Take the nearest point: 3 * 2^(e-1) is in the middle of 2^e and 2^(e+1)."""
        last = 2 ** (self.bits - 1) - 2
        size = np.abs(rows)
        with np.errstate(divide="ignore"):
            exponent = np.ceil(np.log2(size / 1.5))
        below = np.clip(tables["top"] - exponent, 0, last)
        smallest = np.exp2(tables["top"] - last)
        return np.where(size <= smallest / 2, 0, np.sign(rows) * (below + 1)).astype(np.int16)

    def decode(self, codes: Codes, tables: Tables) -> Reals:
        """Return sign * 2^(top - e)."""
        return np.asarray(np.sign(codes) * np.exp2(tables["top"] + 1 - np.abs(codes)), dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class KMeans:
    """A codebook of float32 values a row: the centres of its values' clusters (Han et al. 2016).

    Where zeros are as many as would be a cluster's, as in pruned weights, 0 is one of the centres.
    """

    bits: int = 4
    seed: int = 0
    clusters: int = 0
    """How many values; 0: as many as there are codes."""

    @property
    def _count(self) -> int:
        return self.clusters or 2**self.bits

    def table_bits(self) -> Mapping[str, int]:
        """Return the bits of a value of the codebook."""
        return {"codebook": _FLOAT_BITS}

    def fit(self, rows: Reals, weights: Reals | None = None) -> Tables:
        """Find the centres of every row by itself."""
        rng = np.random.default_rng(self.seed)
        each = [None] * len(rows) if weights is None else list(weights)
        found = [self._centres(row, own, rng) for row, own in zip(rows, each, strict=True)]
        return {"codebook": np.array(found, np.float32).astype(np.float64).reshape(len(rows), self._count)}

    def _centres(self, row: Reals, weights: Reals | None, rng: np.random.Generator) -> Reals:
        there = row != 0
        zeros = len(row) - int(there.sum())
        if zeros * self._count < len(row) or not there.any():
            return centres(row, self._count, rng, weights)
        others = centres(row[there], self._count - 1, rng, None if weights is None else weights[there])
        return np.sort(np.append(others, 0.0))

    def encode(self, rows: Reals, tables: Tables) -> Codes:
        """Return the places of the nearest centres."""
        return nearest(rows, tables["codebook"])

    def decode(self, codes: Codes, tables: Tables) -> Reals:
        """Return the centres."""
        return np.take_along_axis(tables["codebook"], codes.astype(np.intp), axis=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class NormalFloat:
    """The 16 values of `NF4` times the largest magnitude of the row, a float32."""

    bits: int = 4

    def table_bits(self) -> Mapping[str, int]:
        """Return the bits of a scale."""
        return {"scale": _FLOAT_BITS}

    def fit(self, rows: Reals, weights: Reals | None = None) -> Tables:  # noqa: ARG002  # the port's
        """Return the largest magnitudes."""
        largest = np.abs(rows).max(axis=1, keepdims=True)
        scale = np.where(largest > np.finfo(np.float32).tiny, largest, 1.0)
        return {"scale": scale.astype(np.float32).astype(np.float64)}

    def encode(self, rows: Reals, tables: Tables) -> Codes:
        """Return the places of the nearest of the 16 values."""
        points = np.array(NF4)
        return np.searchsorted((points[1:] + points[:-1]) / 2, rows / tables["scale"]).astype(np.int16)

    def decode(self, codes: Codes, tables: Tables) -> Reals:
        """Return value * scale."""
        return np.array(NF4)[codes] * tables["scale"]
