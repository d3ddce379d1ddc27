"""What one layer's own error does to the model's outputs when every other layer is exact."""

import math
import time
from collections.abc import Mapping, Sequence

import numpy as np

from edgekit_converters.layers.base import LayeredModel
from edgekit_converters.layers.feeding import Feed
from edgekit_converters.layers.view import View
from edgekit_converters.model import Array

SAMPLES = 16
"""Samples (or whole runs) that are looked at: enough for a ranking, few enough to be kept."""
_MAX_BYTES = 256 * 2**20
_JOINING = frozenset({"concat", "concatenation"})


class Consequences:
    """The first samples' values with each layer's own error on them, to be run through the rest of the model."""

    def __init__(self, model: LayeredModel) -> None:
        """Prepare for the first model of a comparison."""
        self._model = model
        self._kept: list[tuple[Feed, Mapping[int, Array]]] = []
        self._samples = self._bytes = 0
        self._parts = {at: _parts(model.view, at) for at in model.outputs.values()}

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
        What an output joins (scores beside boxes) counts part by part: a part is lost whatever the others' size is.
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
        sums: dict[tuple[int, int], list[float]] = {}
        for (feed, erring), wanted in zip(self._kept, right, strict=True):
            found = dict(zip(outputs, runner({**feed.first, place: erring[place]}), strict=True))
            if place in found:
                found[place] = erring[place]
            for output in outputs:
                axis, ends = self._parts[output]
                sides = (feed.samples(one[output]).astype(np.float64) for one in (wanted, found))
                for part, (a, b) in enumerate(zip(*(np.split(one, ends, axis) for one in sides), strict=True)):
                    noise, signal = sums.get((output, part), (0.0, 0.0))
                    sums[output, part] = [noise + float(np.sum((a - b) ** 2)), signal + float(np.sum(a**2))]
        shares = [math.sqrt(n / s) if s else (0.0 if n == 0 else math.inf) for n, s in sums.values()]
        worst = max(shares, default=0.0)
        return worst if math.isfinite(worst) else None


def _parts(view: View, output: int) -> tuple[int, list[int]]:
    """Return the axis (from the end) along which an output is joined, and where its parts end but the last."""
    maker = next((node for node in view.nodes if output in node.outputs), None)
    whole = view.values[output].shape
    if maker is None or maker.op.lower() not in _JOINING or not whole:
        return -1, []
    shapes = [view.values[at].shape for at in maker.inputs]
    for axis in range(1, len(whole) + 1):
        sizes = [shape[-axis] if shape and len(shape) == len(whole) else None for shape in shapes]
        known = [size for size in sizes if size]
        if len(known) == len(sizes) > 1 and sum(known) == whole[-axis]:
            return -axis, [int(one) for one in np.cumsum(known)[:-1]]
    return -1, []
