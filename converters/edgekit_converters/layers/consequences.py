"""What one layer's own error does to the model's outputs when every other layer is exact."""

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from edgekit_converters.layers.base import LayeredModel
from edgekit_converters.layers.feeding import Feed
from edgekit_converters.model import Array

SAMPLES = 16
"""Samples (or whole runs) that are looked at: enough for a ranking, few enough to be kept."""
_MAX_BYTES = 256 * 2**20


class Consequences:
    """The first samples' values with each layer's own error on them, to be run through the rest of the model."""

    def __init__(self, model: LayeredModel) -> None:
        """Prepare for the first model of a comparison."""
        self._model = model
        self._kept: list[tuple[Feed, Mapping[int, Array]]] = []
        self._samples = self._bytes = 0

    def keep(self, feed: Feed, erring: Mapping[int, Array]) -> None:
        """Keep one run's values by place, as long as there is room."""
        size = sum(array.nbytes for array in erring.values())
        if not self._kept or (self._samples < SAMPLES and self._bytes + size <= _MAX_BYTES):
            self._kept.append((feed, erring))
            self._samples += feed.rows or 1
            self._bytes += size

    def at_outputs(self, places: Sequence[int], seconds: float | None = None) -> dict[int, float | None]:
        """Return for each layer the error at the outputs that it alone causes.

        It is a root mean square as a share of the output's own, of the output that suffers most; None against nothing.
        Layers whose turn has not come after so many seconds are left out.
        """
        end = None if seconds is None else time.monotonic() + seconds
        outputs = list(dict.fromkeys(self._model.outputs.values()))
        computed = [at for at in outputs if at not in set(self._model.inputs.values())]
        plain = self._model.runner(computed)
        right = [dict(zip(computed, plain(feed.first), strict=True)) for feed, _ in self._kept]
        found = {}
        for place in places:
            if end is not None and time.monotonic() > end:
                break
            found[place] = self._one(place, computed, right)
        return found

    def _one(self, place: int, outputs: Sequence[int], right: Sequence[Mapping[int, Array]]) -> float | None:
        runner = self._model.runner(outputs, [place])
        noise, signal = np.zeros(len(outputs)), np.zeros(len(outputs))
        for (feed, erring), wanted in zip(self._kept, right, strict=True):
            found = dict(zip(outputs, runner({**feed.first, place: erring[place]}), strict=True))
            if place in found:
                found[place] = erring[place]
            for at, output in enumerate(outputs):
                a, b = (feed.samples(one[output]).astype(np.float64) for one in (wanted, found))
                noise[at] += float(np.sum((a - b) ** 2))
                signal[at] += float(np.sum(a**2))
        shares = [math.sqrt(n / s) if s else (0.0 if n == 0 else math.inf) for n, s in zip(noise, signal, strict=True)]
        worst = max(shares, default=0.0)
        return worst if math.isfinite(worst) else None
