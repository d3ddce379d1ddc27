"""How far a layer of one model is from the same layer of another, and how much of that is its own doing.

Three values meet at a layer: `a` the first model's, `b` the second's, and `c` what the first model's layer makes of the
second model's inputs of that layer. `b - a` is the whole error there, `b - c` the layer's own: what it would add if all
before it were exact at those inputs. The rest was inherited. Sums run over all samples, so a mean of ratios, which one
quiet sample can blow up, never occurs.
"""

import math
from dataclasses import dataclass

import numpy as np

from edgekit_converters.model import Array


@dataclass(slots=True)
class Tally:
    """Sums over the samples seen so far, of one layer."""

    elements: int = 0
    signal: float = 0.0
    noise: float = 0.0
    own: float = 0.0
    product: float = 0.0
    other: float = 0.0
    max_abs: float = 0.0

    def add(self, a: Array, b: Array, c: Array) -> None:
        """Count in the values of one run, of one shape."""
        first, second, alone = (np.asarray(one, dtype=np.float64).ravel() for one in (a, b, c))
        self.elements += first.size
        self.signal += float(first @ first)
        self.other += float(second @ second)
        self.product += float(first @ second)
        alone -= second
        self.own += float(alone @ alone)
        second = second - first
        self.noise += float(second @ second)
        self.max_abs = max(self.max_abs, float(np.abs(second).max(initial=0.0)))

    def figures(self) -> dict[str, float | None]:
        """Return the layer's figures; a ratio to a signal that is all zero is None.

        `error` and `own_error` are root mean squares as shares of the first model's: 0.01 is one percent.
        """
        norms = math.sqrt(self.signal) * math.sqrt(self.other)
        return {
            "error": self._share(self.noise),
            "own_error": self._share(self.own),
            "snr_db": self._decibel(self.noise),
            "own_snr_db": self._decibel(self.own),
            "cosine": min(1.0, self.product / norms) if norms else None,
            "max_abs": self.max_abs,
        }

    def _share(self, power: float) -> float | None:
        if power == 0:
            return 0.0
        share = math.sqrt(power / self.signal) if self.signal else math.inf
        return share if math.isfinite(share) else None

    def _decibel(self, power: float) -> float | None:
        """Return the signal-to-noise ratio; None for no noise (no end to it) and for noise against nothing."""
        return 10 * math.log10(self.signal / power) if power and self.signal and math.isfinite(power) else None
