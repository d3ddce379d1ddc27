"""What inputs and answers are like: sums over samples, from which a report has mean, deviation and histogram.

On a device samples are taken in turns with the timed loop, and what they cost is bounded by what they cost: after one
that took t the next is taken no sooner than 100 t later, so observing takes at most 1 % of the time, whatever the
inputs' size and the model's speed. An inference that is not observed pays one comparison.
"""

import math
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgekit_agent.baseline import BINS
from edgekit_agent.counts import add_counts
from edgekit_agent.quantize import to_real
from edgekit_agent.runtimes.base import Array, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_PER_S = 20
SPARED = 100
"""How many times as long as it took the observer waits for its next sample."""
MOST_CHANNELS = 4
MOST_VALUES = 16_384
"""Of a sample; of larger inputs so many are taken, that one sample does not hold up the inferences behind it."""
SUM_WITHIN = 0.02
"""Scores whose sum is so near to 1 are probabilities; quantized ones may be half a step off each."""
_NS = 1_000_000_000
_IMAGE_RANK, _LAST = 4, 3


def classifying(outputs: Sequence[TensorSpec]) -> int | None:
    """Return which output holds scores of classes: the first of more than one value a sample, in its last dimension."""
    for number, spec in enumerate(outputs):
        if len(spec.shape) > 1 and spec.shape[-1] > 1 and all(size in {1, -1} for size in spec.shape[1:-1]):
            return number
    return None


def top_classes(output: Array, spec: TensorSpec) -> list[int]:
    """Return the class of each sample [..., classes] of an output."""
    scores = to_real(output, spec)
    found: list[int] = scores.reshape(-1, scores.shape[-1]).argmax(axis=-1).tolist()
    return found


class Observer:
    """Sums of what was observed since they were last asked for."""

    def __init__(self, inputs: Sequence[TensorSpec], outputs: Sequence[TensorSpec], *, softmax: bool = False) -> None:
        """Take the model's tensors.

        Args:
            inputs: in the model's order.
            outputs: in the model's order.
            softmax: whether scores become probabilities by a softmax that is not in the model.
        """
        self._inputs = [(n, spec) for n, spec in enumerate(inputs) if _measurable(spec)]
        self._scores = classifying(outputs)
        self._outputs, self._softmax = outputs, softmax
        self.due_ns = 0
        """When the next sample is worth taking, on `time.perf_counter_ns`."""
        self.broken: set[str] = set()
        """Inputs that have held values that are no numbers: such a sample is left out."""
        self._clear()

    def _clear(self) -> None:
        self._sums: dict[str, dict[str, Any]] = {}
        self._tops: list[float] = []

    def observe(self, arrays: Sequence[Array], outputs: Sequence[Array]) -> None:
        """Take a sample: an inference's inputs as the model stores them, and its outputs."""
        start = time.perf_counter_ns()
        for number, spec in self._inputs:
            self._add(spec, arrays[number])
        if self._scores is not None:
            self._add_confidence(outputs[self._scores], self._outputs[self._scores])
        end = time.perf_counter_ns()
        self.due_ns = end + max(SPARED * (end - start), _NS // MOST_PER_S)

    def take(self) -> dict[str, Any]:
        """Return the sums since the last call: they add up over workers and windows.

        `in` has by input the number of samples `n`, of `values` a channel, and by channel their `sum` and `squares`;
        `conf` has `n`, `sum` and the counts `bins`. `edgekit_agent.baseline` makes figures of them.
        """
        found: dict[str, Any] = {"in": self._sums} if self._sums else {}
        if self._tops:
            bins = np.bincount(np.minimum(BINS * np.array(self._tops), BINS - 1).astype(int), minlength=BINS)
            found["conf"] = {"n": len(self._tops), "sum": sum(self._tops), "bins": bins.tolist()}
        self._clear()
        return found

    def _add(self, spec: TensorSpec, array: Array) -> None:
        values = _by_channel(to_real(_thinned(array, spec), spec), spec)
        total, square = values.sum(axis=1), np.einsum("ij,ij->i", values, values)
        if not np.isfinite(square).all():  # what is no number would make all of the window none
            self.broken.add(spec.name)
            return
        more = {"n": 1, "values": values.shape[1], "sum": total.tolist(), "squares": square.tolist()}
        add_counts(self._sums.setdefault(spec.name, {}), more)

    def _add_confidence(self, output: Array, spec: TensorSpec) -> None:
        scores = to_real(output, spec).astype(np.float64)
        rows = scores.reshape(-1, scores.shape[-1])
        if self._softmax:
            rows = np.exp(rows - rows.max(axis=-1, keepdims=True))
            rows /= rows.sum(axis=-1, keepdims=True)
        allowed = SUM_WITHIN + rows.shape[-1] * max(spec.scale, default=0.0) / 2
        probable = (rows.min(axis=-1) >= -SUM_WITHIN) & (abs(rows.sum(axis=-1) - 1) <= allowed)
        self._tops += rows.max(axis=-1)[probable].clip(0, 1).tolist()


def _measurable(spec: TensorSpec) -> bool:
    """Whether an input holds magnitudes; large whole numbers are names of things, such as words."""
    dtype = np.dtype(spec.dtype)
    return bool(spec.scale) or dtype.kind == "f" or (dtype.kind in "iu" and dtype.itemsize == 1)


def _thinned(array: Array, spec: TensorSpec) -> Array:
    """Return an array, or of a large one evenly taken values: of an image whole pixels."""
    ratio = array.size / MOST_VALUES
    if ratio <= 1 or len(spec.scale) > 1:
        return array
    channels = _channel_axis(spec)
    if channels is not None:
        step = math.ceil(math.sqrt(ratio))
        return array[:, ::step, ::step] if channels == _LAST else array[..., ::step, ::step]
    step = math.ceil(ratio)
    while math.gcd(step, array.shape[-1]) > 1:  # or it would take some of the last axis' values only
        step += 1
    return array.reshape(-1)[::step]


def _channel_axis(spec: TensorSpec) -> int | None:
    """Return the axis of an image's few channels, the last or the second."""
    if len(spec.shape) != _IMAGE_RANK:
        return None
    return next((axis for axis in (_LAST, 1) if 1 < spec.shape[axis] <= MOST_CHANNELS), None)


def _by_channel(array: Array, spec: TensorSpec) -> "NDArray[np.float64]":
    """Return values [channels, values]: of an image's few channels, first or last, else all as one."""
    values, axis = array.astype(np.float64), _channel_axis(spec)
    if axis is None:
        return values.reshape(1, -1)
    return np.ascontiguousarray(np.moveaxis(values, axis, 0).reshape(spec.shape[axis], -1))
