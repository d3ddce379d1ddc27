"""COCO's matching of detections to labelled boxes, and average precision: the numbers of pycocotools' `COCOeval`.

Source: github.com/cocodataset/cocoapi, PythonAPI/pycocotools/cocoeval.py (`evaluateImg`, `accumulate`), for boxes of
all areas.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from edgekit._metrics.scored import Values, Weights

MOST_DETECTIONS = 100  # of an image and class
_OVERLAPS = np.linspace(0.5, 0.95, 10)
_RECALLS = np.linspace(0, 1, 101)
_ALMOST_ONE = 1 - 1e-10


@dataclass(frozen=True, slots=True)
class Image:
    """One image and class: detections, the best first, and labelled boxes; boxes are left, top, right, bottom."""

    boxes: Values
    scores: Values
    wanted: Values
    crowd: NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Matches:
    """All images of one class: detections D in the order of their scores, for each overlap threshold T.

    `image` [D] is where each is from, `right` and `wrong` [T, D] whether it counts as such (neither: it lies in a
    crowd), `wanted` [N] how many boxes each image has.
    """

    image: NDArray[np.int64]
    right: NDArray[np.bool_]
    wrong: NDArray[np.bool_]
    wanted: NDArray[np.int64]


def matched(images: Sequence[Image]) -> Matches:
    """Match every image's detections to its boxes."""
    each = [_match(image) for image in images if len(image.scores)]
    counts = [len(image.scores) for image in images]
    if not each:
        each = [_match(images[0])]
    scores = np.concatenate([image.scores for image in images])
    order = np.argsort(-scores, kind="stable")
    place = np.repeat(np.arange(len(images)), counts)
    right = np.concatenate([right for right, _ in each], axis=1)[:, order]
    # what ranks below the last right one changes no precision that counts, and there is much of it
    last = int(np.flatnonzero(right.any(axis=0)).max(initial=-1)) + 1
    return Matches(
        image=place[order[:last]],
        right=right[:, :last],
        wrong=np.concatenate([wrong for _, wrong in each], axis=1)[:, order[:last]],
        wanted=np.asarray([int((~image.crowd).sum()) for image in images], dtype=np.int64),
    )


def average_precision(matches: Matches, weights: Weights) -> float | None:
    """Return the mean precision over 101 recalls and all overlaps; None where no box is wanted."""
    wanted = weights @ matches.wanted
    if not wanted:
        return None
    each = weights[matches.image]
    right, wrong = (np.cumsum(kind * each, axis=1, dtype=np.float64) for kind in (matches.right, matches.wrong))
    precision = right / (right + wrong + np.spacing(1))
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    total = 0.0
    for recall, row in zip(right / wanted, best, strict=True):
        places = np.searchsorted(recall, _RECALLS, side="left")
        total += float(row[places[places < len(row)]].sum())
    return total / (len(_OVERLAPS) * len(_RECALLS))


def _match(image: Image) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which detections are right and which are wrong [T, D].

    Each takes, in the order of scores, the free box it overlaps most, of equal ones the last; a crowd takes
    any number, and only what finds no other.
    """
    count = len(image.boxes)
    right = np.zeros((len(_OVERLAPS), count), dtype=bool)
    ignored = right.copy()
    if count and len(image.wanted):
        overlaps = _overlaps(image)
        free = np.broadcast_to(~image.crowd, (len(_OVERLAPS), len(image.wanted))).copy()
        least = np.minimum(_OVERLAPS, _ALMOST_ONE)
        crowds = overlaps[:, image.crowd].max(axis=1, initial=-1.0)
        for place, row in enumerate(overlaps):
            open_to = np.where(free, row, -1.0)
            best = open_to.shape[1] - 1 - open_to[:, ::-1].argmax(axis=1)
            hit = open_to[np.arange(len(least)), best] >= least
            free[hit, best[hit]] = False
            right[:, place] = hit
            ignored[:, place] = ~hit & (crowds[place] >= least)
    return right, ~right & ~ignored


def _overlaps(image: Image) -> Values:
    """Return intersection over union [D, G]; with a crowd, over the detection's own area."""
    found, wanted = image.boxes[:, None], image.wanted[None]
    sides = np.minimum(found[..., 2:], wanted[..., 2:]) - np.maximum(found[..., :2], wanted[..., :2])
    both = np.where((sides > 0).all(axis=2), sides.prod(axis=2), 0.0)
    own, other = ((boxes[..., 2:] - boxes[..., :2]).prod(axis=2) for boxes in (found, wanted))
    union = np.where(image.crowd, own, own + other - both)
    return np.asarray(np.divide(both, union, out=np.zeros_like(both), where=union > 0))
