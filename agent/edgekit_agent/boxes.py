"""Boxes: from what a detector's head says to corners, and the best of those that overlap."""

from collections.abc import Sequence
from math import ceil, prod
from typing import TYPE_CHECKING

import numpy as np

from edgekit_agent.errors import ModelError
from edgekit_agent.placing import Size
from edgekit_agent.postprocess import Level

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]
    Whole = NDArray[np.intp]

MOST_ANCHORS = 1 << 20


def cells(size: Size, strides: Sequence[int], each: Sequence[int]) -> "Floats":
    """Return the cells that steps over a picture make: (column, row, stride) [N, 3].

    Level by level, row by row, and each cell as many times as its level has priors. A last part of a step is a cell.

    Raises:
        ModelError: if there are more than a million.
    """
    counts = [(ceil(size[0] / stride), ceil(size[1] / stride)) for stride in strides]
    if sum(prod(count) * copies for count, copies in zip(counts, each, strict=True)) > MOST_ANCHORS:
        raise ModelError(f"steps of {min(strides)} pixels make more than {MOST_ANCHORS} boxes of {size[0]}x{size[1]}")
    parts = []
    for (rows, columns), stride, copies in zip(counts, strides, each, strict=True):
        row, column = np.divmod(np.arange(rows * columns), columns)
        parts.append(np.stack([column, row, np.full_like(row, stride)], axis=1).repeat(copies, axis=0))
    return np.concatenate(parts).astype(np.float32)


def priors(size: Size, strides: Sequence[int], sizes: Sequence[Level], *, clip: bool) -> "Floats":
    """Return priors as (middle x, middle y, width, height) [N, 4], in shares of the picture.

    As SSD has them (Liu et al. 2016, section 2.2): at the middle of every cell, one of each of the level's sizes.

    Raises:
        ModelError: if there are more than a million.
    """
    found = cells(size, strides, [len(level) for level in sizes])
    whole = np.array([size[1], size[0]], np.float32)
    middles = (found[:, :2] + np.float32(0.5)) * found[:, 2:] / whole
    counts = [ceil(size[0] / stride) * ceil(size[1] / stride) for stride in strides]
    sides = np.concatenate(
        [np.tile(np.asarray(level, np.float32)[:, ::-1], (n, 1)) for level, n in zip(sizes, counts, strict=True)]
    )
    made = np.concatenate([middles, sides / whole], axis=1)
    return made.clip(0, 1) if clip else made


def from_priors(deltas: "Floats", anchors: "Floats", variances: tuple[float, float]) -> "Floats":
    """Return corners [N, 4] of what is said relative to priors, in the priors' unit."""
    middles = anchors[:, :2] + deltas[:, :2] * np.float32(variances[0]) * anchors[:, 2:]
    with np.errstate(over="ignore"):  # an endless box is cut to the picture
        sides = anchors[:, 2:] * np.exp(deltas[:, 2:] * np.float32(variances[1]))
    return _corners(middles, sides)


def from_cells(values: "Floats", grid: "Floats") -> "Floats":
    """Return corners [N, 4] in pixels of what is said relative to cells (column, row, stride) [N, 3]."""
    with np.errstate(over="ignore"):
        sides = np.exp(values[:, 2:]) * grid[:, 2:]
    return _corners((values[:, :2] + grid[:, :2]) * grid[:, 2:], sides)


def from_middles(values: "Floats") -> "Floats":
    """Return corners [N, 4] of (middle x, middle y, width, height)."""
    return _corners(values[:, :2], values[:, 2:])


def _corners(middles: "Floats", sides: "Floats") -> "Floats":
    half = sides / np.float32(2)
    return np.concatenate([middles - half, middles + half], axis=1)


def best_of_overlapping(corners: "Floats", scores: "Floats", classes: "Whole", iou: float, most: int) -> "Whole":
    """Return which boxes stay, the best first: greedy suppression, class by class.

    A box goes if one of its class that stays, with a higher score (or the same and before it), overlaps it by more
    than `iou`: intersection over union. At most so many stay.
    """
    order: Whole = np.argsort(-scores, kind="stable")
    boxes, kinds = corners[order], classes[order]
    areas = (boxes[:, 2] - boxes[:, 0]).clip(0) * (boxes[:, 3] - boxes[:, 1]).clip(0)
    waiting = np.arange(len(order))
    kept: list[int] = []
    while len(waiting) and len(kept) < most:
        best, rest = waiting[0], waiting[1:]
        kept.append(int(order[best]))
        low, high = np.maximum(boxes[best, :2], boxes[rest, :2]), np.minimum(boxes[best, 2:], boxes[rest, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        union = areas[best] + areas[rest] - shared
        waiting = rest[(shared <= np.float32(iou) * union) | (kinds[rest] != kinds[best])]
    return np.asarray(kept, np.intp)
