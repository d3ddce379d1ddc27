"""Evenly spaced grids: real = (code - zero point) * scale, the scale any number or a power of two."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgekit_converters.grids.base import Codes, Reals, Tables, best_of

_SCALE_BITS = 32
_EXPONENT_BITS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """Scales are float32.

    Symmetric: codes -(2^(bits-1) - 1) to 2^(bits-1) - 1 around 0, as TFLite has them. Asymmetric: codes 0 to
    2^bits - 1 and a whole zero point, so that 0 is a point of the grid.
    """

    bits: int = 8
    asymmetric: bool = False

    def table_bits(self) -> Mapping[str, int]:
        """Return the bits of a scale, and of a zero point where there is one."""
        return {"scale": _SCALE_BITS, "zero_point": self.bits if self.asymmetric else 0}

    def fit(self, rows: Reals, weights: Reals | None = None) -> Tables:  # noqa: ARG002  # the port's
        """Span the smallest to the largest value."""
        if not self.asymmetric:
            scale = _float32(np.abs(rows).max(axis=1, keepdims=True) / _last(self.bits))
            return {"scale": scale, "zero_point": np.zeros_like(scale)}
        low = np.minimum(rows.min(axis=1, keepdims=True), 0.0)
        high = np.maximum(rows.max(axis=1, keepdims=True), 0.0)
        scale = _float32((high - low) / (2**self.bits - 1))
        return {"scale": scale, "zero_point": np.rint(-low / scale)}

    def encode(self, rows: Reals, tables: Tables) -> Codes:
        """Round half to even, and saturate."""
        first, last = (0, 2**self.bits - 1) if self.asymmetric else (-_last(self.bits), _last(self.bits))
        codes = np.rint(rows / tables["scale"]) + tables["zero_point"]
        return np.clip(codes, first, last).astype(np.int16)

    def decode(self, codes: Codes, tables: Tables) -> Reals:
        """Return (code - zero point) * scale."""
        return np.asarray((codes - tables["zero_point"]) * tables["scale"], dtype=np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerOfTwo:
    """Fixed point: a symmetric linear grid whose scale is 2^exponent, so that scaling is a shift."""

    bits: int = 8

    def table_bits(self) -> Mapping[str, int]:
        """Return the bits of an exponent."""
        return {"exponent": _EXPONENT_BITS}

    def fit(self, rows: Reals, weights: Reals | None = None) -> Tables:
        """Take the smallest exponent that spans the values, or the next smaller one where saturating costs less."""
        largest = _positive(np.abs(rows).max(axis=1, keepdims=True))
        whole = np.ceil(np.log2(largest / _last(self.bits)))
        return best_of(self, rows, [{"exponent": whole}, {"exponent": whole - 1}], weights)

    def encode(self, rows: Reals, tables: Tables) -> Codes:
        """Round half to even, and saturate."""
        last = _last(self.bits)
        return np.clip(np.rint(rows * np.exp2(-tables["exponent"])), -last, last).astype(np.int16)

    def decode(self, codes: Codes, tables: Tables) -> Reals:
        """Return code * 2^exponent."""
        return np.asarray(codes * np.exp2(tables["exponent"]), dtype=np.float64)


def _last(bits: int) -> int:
    return int(2 ** (bits - 1) - 1)


def _float32(scale: Reals) -> Reals:
    """Return scales as they are stored; a row of zeros has any."""
    return _positive(scale).astype(np.float32).astype(np.float64)


def _positive(largest: Reals) -> Reals:
    return np.where(largest > np.finfo(np.float32).tiny, largest, 1.0)
