"""How good a net is on samples held out: the share of right classes where there are labels, or minus the loss."""

from collections.abc import Callable
from typing import Any

import numpy as np

from edgekit_converters.compress.learning.heads import Head
from edgekit_converters.compress.learning.lesson import Lesson, answered
from edgekit_converters.compress.learning.samples import Samples, Targets
from edgekit_converters.model import Arrays
from edgekit_converters.training.loader import Tree

Predict = Callable[[Tree], Tree]


class Score:
    """Called by the loop with the net's `predict`."""

    def __init__(self, lesson: Lesson, judged: Samples, targets: Targets, batch: int) -> None:
        """Take the samples, in batches of that size."""
        self._lesson, self._targets = lesson, targets
        self._head = next((one for one in lesson.heads if one.is_classes and one.labels is not None), None)
        self._parts = [judged.at(np.arange(at, min(at + batch, len(judged)))) for at in range(0, len(judged), batch)]

    @property
    def name(self) -> str:
        """What it is, for people."""
        return "right classes" if self._head is not None else "minus the loss"

    def __call__(self, predict: Predict) -> float:
        """Return the score; higher is better."""
        found = [self._of(predict(part.inputs), part) for part in self._parts]
        return float(np.average(found, weights=[len(part) for part in self._parts]))

    def _of(self, outputs: Arrays, part: Samples) -> float:
        if self._head is not None:
            return _right(outputs, part, self._head)
        made, labels, wanted = (_tensors(one) for one in (outputs, part.labels, self._targets(part.inputs)))
        return -float(self._lesson.loss(made, (labels, wanted)))


def _right(outputs: Arrays, part: Samples, head: Head) -> float:
    axis, labels = int(head.axis or 0), part.labels[str(head.labels)]
    found = answered(outputs, head).argmax(axis)
    if labels.dtype.kind == "f":  # shares of the classes
        labels = labels.reshape(outputs[head.output].shape).argmax(axis)
    return float((found == labels.reshape(found.shape)).mean())


def _tensors(arrays: Arrays) -> dict[str, Any]:
    import torch

    return {name: torch.from_numpy(np.array(one)) for name, one in arrays.items()}
