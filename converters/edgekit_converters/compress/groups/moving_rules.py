"""What operators tie that move elements or leave some out."""

import math
from typing import TYPE_CHECKING

import numpy as np

from edgekit_converters.compress.groups.ties import Join, Ties
from edgekit_converters.graph.reading import computed, numbers, said

if TYPE_CHECKING:
    import onnx_ir as ir

_FREE = 1_000_003
"""Stands for a free dimension while axes are paired: a prime no net has."""


def transpose(node: "ir.Node", ties: Ties) -> None:
    """Tie axes to where they go."""
    rank = ties.rank(node.inputs[0])
    if rank is not None:
        order = node.attributes.get_ints("perm", None) or tuple(reversed(range(rank)))
        for place, axis in enumerate(order):
            ties.tie(node.inputs[0], axis, node.outputs[0], place)


def sliced(node: "ir.Node", ties: Ties) -> dict[int, tuple[int, int, int]] | None:
    """Return begin, end and step by axis of a Slice, begin and end inside the axis; None where they are computed.

    An axis whose length is free is there with a step of 0.
    """
    rank = ties.rank(node.inputs[0])
    begins, ends = numbers(node, 1, "starts"), numbers(node, 2, "ends")
    if rank is None or begins is None or ends is None or computed(node, 3) or computed(node, 4):
        return None
    axes = numbers(node, 3, "axes") or range(len(begins))
    steps = numbers(node, 4, "steps") or [1] * len(begins)
    found = {}
    for axis, begin, end, step in zip(axes, begins, ends, steps, strict=True):
        size = ties.size(node.inputs[0], axis % rank)
        inside = slice(begin, end, step).indices(size) if size is not None else (0, 0, 0)
        found[axis % rank] = inside
    return found


def part(node: "ir.Node", ties: Ties) -> None:
    """Tie what a Slice leaves in place, and what it takes of an axis without leaving any out between."""
    inside = sliced(node, ties)
    if inside is None:
        return
    for axis in range(ties.rank(node.inputs[0]) or 0):
        begin, end, step = inside.get(axis, (0, 0, 1))
        if axis not in inside:
            ties.tie(node.outputs[0], axis, node.inputs[0], axis)
        elif step == 1:
            ties.tie(node.outputs[0], axis, node.inputs[0], axis, np.arange(begin, end))


def gather(node: "ir.Node", ties: Ties) -> None:
    """Tie the axes a Gather leaves, and those it picks from with stored numbers."""
    rank, picked = ties.rank(node.inputs[0]), ties.rank(node.inputs[1])
    if rank is None or picked is None:
        return
    along = (node.attributes.get_int("axis", 0) or 0) % rank
    for axis in range(rank):
        if axis != along:
            ties.tie(node.inputs[0], axis, node.outputs[0], axis if axis < along else axis + picked - 1)
    size, which = ties.size(node.inputs[0], along), numbers(node, 1, "")
    if picked == 1 and which and size is not None:
        ties.tie(node.outputs[0], along, node.inputs[0], along, np.array(which) % size)


def padding(node: "ir.Node", ties: Ties) -> list[tuple[int, int]] | None:
    """Return what a Pad puts before and behind every axis; None where that is computed or taken away."""
    rank, pads = ties.rank(node.inputs[0]), numbers(node, 1, "pads")
    axes = numbers(node, 3, "")
    if rank is None or pads is None or computed(node, 3) or min(pads, default=0) < 0:
        return None
    axes = list(range(rank)) if axes is None else [axis % rank for axis in axes]
    found = [(0, 0)] * rank
    for place, axis in enumerate(axes):
        found[axis] = (pads[place], pads[place + len(axes)])
    return found


def pad(node: "ir.Node", ties: Ties) -> None:
    """Tie what is padded to its place; channels of a constant put around are elements of their own."""
    pads = padding(node, ties)
    constant = node.attributes.get_string("mode", "constant") == "constant"
    for axis, (before, behind) in enumerate(pads or ()):
        size = ties.size(node.inputs[0], axis)
        if size is not None and (constant or not (before or behind)):
            ties.tie(node.inputs[0], axis, node.outputs[0], axis, before + np.arange(size))


def expand(node: "ir.Node", ties: Ties) -> None:
    """Tie the axes that are not made longer."""
    if numbers(node, 1, "") is not None:
        for back in range(1, (ties.rank(node.inputs[0]) or 0) + 1):
            ties.tie(node.inputs[0], -back, node.outputs[0], -back)


def tile(node: "ir.Node", ties: Ties) -> None:
    """Tie the axes that are not repeated."""
    for axis, times in enumerate(numbers(node, 1, "") or ()):
        if times == 1:
            ties.tie(node.inputs[0], axis, node.outputs[0], axis)


def resize(node: "ir.Node", ties: Ties) -> None:
    """Tie the axes whose length stays; where axes are named, those that are not."""
    cropped = node.attributes.get_string("coordinate_transformation_mode", "") == "tf_crop_and_resize"
    rank = ties.rank(node.inputs[0])
    if rank is None or cropped or computed(node, 3):
        return
    named = {axis % rank for axis in numbers(node, len(node.inputs), "axes") or ()}
    for axis in set(range(rank)) - named:
        ties.tie(node.inputs[0], axis, node.outputs[0], axis)


def reshape(node: "ir.Node", ties: Ties) -> None:
    """Tie axes that stay; of those that are put together or split one carries the channels (`Ties.join`)."""
    if node.op_type == "Reshape" and numbers(node, 1, "shape") is None:
        return
    image, made = node.inputs[0], node.outputs[0]
    sizes = _sizes(ties, image), _sizes(ties, made)
    if None in sizes:
        return
    for before, behind in _segments(sizes[0] or [], sizes[1] or []):
        _tie(node, ties, before, behind)


def _tie(node: "ir.Node", ties: Ties, before: list[int], behind: list[int]) -> None:
    slots = [ties.slot(node.inputs[0], axis) for axis in before]
    others = [ties.slot(node.outputs[0], axis) for axis in behind]
    if len(before) == len(behind) == 1:
        ties.tie(node.inputs[0], before[0], node.outputs[0], behind[0])
    elif min(len(before), len(behind)) == 1 and None not in slots and None not in others:
        one, many = (slots, others) if len(before) == 1 else (others, slots)
        if one[0] is not None:
            ties.join(Join(one[0], tuple(slot for slot in many if slot is not None), said(node)))


def _sizes(ties: Ties, value: "ir.Value | None") -> list[int] | None:
    """Return the length of every axis; one that is free has `_FREE`, and with two of them there is no telling."""
    rank = ties.rank(value)
    found = [ties.size(value, axis) or _FREE for axis in range(rank or 0)]
    return None if rank is None or found.count(_FREE) > 1 else found


def _segments(before: list[int], behind: list[int]) -> list[tuple[list[int], list[int]]]:
    """Return which axes become which: the shortest runs of both with the same number of elements, without those of 1.

    Empty where a free dimension is another one behind.
    """
    first, second = ([axis for axis, size in enumerate(sizes) if size > 1] for sizes in (before, behind))
    found, at, to = [], 0, 0
    while at < len(first) and to < len(second):
        begin, start = at, to
        left, right = before[first[at]], behind[second[to]]
        at, to = at + 1, to + 1
        while left != right:
            if left < right and at < len(first):
                left, at = left * before[first[at]], at + 1
            elif right < left and to < len(second):
                right, to = right * behind[second[to]], to + 1
            else:
                return []
        found.append((first[begin:at], second[start:to]))
    return found if math.prod(before) == math.prod(behind) else []
