"""A detector's outputs as boxes in the source's pixels."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from edgekit_agent import boxes
from edgekit_agent.answering import Found, activated, output_of, real_values
from edgekit_agent.errors import ModelError
from edgekit_agent.placing import Placement, Size
from edgekit_agent.postprocess import Output, Postprocess
from edgekit_agent.runtimes.base import Array, TensorSpec

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Whole = NDArray[np.intp]

TOP = 100
THRESHOLD = 0.3
_FAR = 1e7  # pixels: an endless box must not make a number that is none
CANDIDATES = 1000
"""The best so many boxes are looked at: what overlaps is found in a bounded time."""


class Detecting:
    """Takes the boxes of one model."""

    def __init__(self, how: Postprocess, outputs: Sequence[TensorSpec], picture: Size | None) -> None:
        """Look whether the model has the outputs that are described.

        Raises:
            ModelError: if it has not, or nothing says how large its picture is.
        """
        self._how, self._specs, self._picture = how, tuple(outputs), picture
        self._at = {name: self._place(getattr(how, name)) for name in ("boxes", "scores", "numbers")}
        self._top = how.top or TOP
        self._threshold = THRESHOLD if how.threshold is None else how.threshold
        self._anchors: tuple[Size, Floats] | None = None

    def _place(self, wanted: Output | None) -> int | None:
        return None if wanted is None else output_of(self._specs, wanted)

    def __call__(self, outputs: Sequence[Array], placement: Placement | None) -> Sequence[Found]:
        """Return the boxes, the best first.

        Raises:
            ModelError: if the outputs hold what is no number, or are not of the shapes described.
        """
        size = placement.size if placement else self._picture
        if size is None:
            raise ModelError("boxes need the size of the model's picture, and its input has none")
        coded, scores = self._parts(outputs)
        which, classes = self._candidates(scores)
        best = scores[which, classes]
        if self._at["numbers"] is not None:
            classes = self._output(outputs, "numbers").reshape(-1)[which].astype(np.intp)
        corners = self._corners(coded, which, size).clip(-_FAR, _FAR)
        kept = boxes.best_of_overlapping(corners, best, classes, self._how.iou, self._top)
        told = _back(corners[kept], placement, size)
        rows = zip(classes[kept].tolist(), best[kept].tolist(), told.tolist(), strict=True)
        return [Found(number, score, (x1, y1, x2, y2)) for number, score, (x1, y1, x2, y2) in rows]

    def _output(self, outputs: Sequence[Array], name: str) -> "Floats":
        at = self._at[name]
        assert at is not None  # noqa: S101  # asked only for what is described
        return real_values(outputs[at], self._specs[at])

    def _parts(self, outputs: Sequence[Array]) -> "tuple[Floats, Floats]":
        """Return what is said of boxes [N, 4], and the scores [N, classes]."""
        coded = self._rows(self._output(outputs, "boxes"), 4 if self._at["scores"] is not None else None)
        if self._at["scores"] is None:
            there = 4 + self._how.objectness
            if coded.shape[1] <= there:
                raise ModelError(f"the boxes' output has {coded.shape[1]} values a box, and no scores among them")
            return coded[:, :4], self._scored(coded[:, there:], coded[:, 4:there])
        scores = self._output(outputs, "scores")
        rows = scores.reshape(-1, 1) if self._at["numbers"] is not None else self._rows(scores, None)
        if len(rows) != len(coded):
            raise ModelError(f"there are scores of {len(rows)} boxes, and {len(coded)} boxes")
        return coded, self._scored(rows, rows[:, :0])

    def _scored(self, scores: "Floats", there: "Floats") -> "Floats":
        scores = activated(scores, self._how.activation)
        return scores * activated(there, self._how.activation) if there.shape[1] else scores

    def _rows(self, values: "Floats", width: int | None) -> "Floats":
        """Return values as [N, values a box]."""
        axis = -2 if self._how.transposed else -1
        if values.ndim < 2 or (width is not None and values.shape[axis] != width):  # noqa: PLR2004  # boxes and values
            raise ModelError(
                f"an output of shape {list(values.shape)} does not hold boxes as postprocess describes them"
            )
        if self._how.transposed:
            values = np.moveaxis(values, -2, -1)
        return values.reshape(-1, values.shape[-1])

    def _candidates(self, scores: "Floats") -> "tuple[Whole, Whole]":
        """Return the boxes and classes whose scores are high enough, at most so many of the best."""
        enough = scores >= self._threshold
        background = self._how.background
        if background is not None and background < scores.shape[1]:
            enough[:, background] = False
        which, classes = np.nonzero(enough)
        if len(which) > CANDIDATES:
            best = np.argsort(-scores[which, classes], kind="stable")[:CANDIDATES]
            which, classes = which[best], classes[best]
        return which, classes

    def _corners(self, coded: "Floats", which: "Whole", size: Size) -> "Floats":
        """Return corners in the pixels of the model's picture."""
        how = self._how
        values = coded[which]
        whole = _twice(size[1], size[0])
        if how.form in {"ssd", "grid"}:
            anchors = self._anchors_of(size)
            if len(anchors) != len(coded):
                raise ModelError(f"the model gives {len(coded)} boxes, and postprocess's strides make {len(anchors)}")
            if how.form == "grid":
                return boxes.from_cells(values, anchors[which])
            return boxes.from_priors(values, anchors[which], how.variances) * whole
        if how.form == "xywh":
            values = boxes.from_middles(values)
        elif how.form == "yxyx":
            values = values[:, [1, 0, 3, 2]]
        return values * whole if how.unit == "share" else values

    def _anchors_of(self, size: Size) -> "Floats":
        if self._anchors is None or self._anchors[0] != size:
            how = self._how
            if how.form == "ssd":
                made = boxes.priors(size, how.strides, how.sizes, clip=how.clip)
            else:
                made = boxes.cells(size, how.strides, [1] * len(how.strides))
            self._anchors = size, made
        return self._anchors[1]


def _back(corners: "Floats", placement: Placement | None, size: Size) -> "Floats":
    """Return corners in the source's pixels, cut to it."""
    if placement is not None:
        (down, along), (top, left) = placement.scale, placement.offset
        corners = (corners + _twice(left, top)) / _twice(along, down)
        size = placement.source
    return corners.clip(np.float32(0), _twice(size[1], size[0]))


def _twice(x: float, y: float) -> "Floats":
    return np.array([x, y, x, y], np.float32)
