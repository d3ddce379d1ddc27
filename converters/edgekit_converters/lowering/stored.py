"""Values cut, padded and joined along the axes they are stored in."""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.arithmetic import counted
from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.lowering.pieces import part as part_of


def part(b: Builder, ref: Ref, axis: int, start: int, count: int) -> Ref:
    """Take `count` places of an axis."""
    return part_of(b, Tensor(ref, identity(len(ref.shape))), {axis: start}, {axis: count}).ref


def stepped(b: Builder, ref: Ref, axis: int, places: tuple[int, int, int]) -> Ref:
    """Take places of an axis: the first, how many, and how far apart (by GATHER, faster than STRIDED_SLICE)."""
    start, count, step = places
    if step == 1:
        return part(b, ref, axis, start, count)
    if is_free(count):
        numbers = b.binary("mul", counted(b, count), b.module.ints(step))
        return gathered(b, ref, b.binary("add", numbers, b.module.ints(start)), axis)
    return gathered(b, ref, b.module.constant((np.arange(count) * step + start).astype(np.int32)), axis)


def padded(b: Builder, ref: Ref, pads: Sequence[tuple[int, int]], value: float = 0.0) -> Ref:
    """Put a value around: `pads` are (before, after) each axis."""
    if not any(map(any, pads)):
        return ref
    shape = [size + before + after for size, (before, after) in zip(ref.shape, pads, strict=True)]
    operands = [ref, b.module.ints([list(pair) for pair in pads])]
    if value == 0:
        return b.module.op("pad", operands, "", shape, ref.dtype)
    return b.module.op("padv2", [*operands, b.scalar(value, ref.dtype)], "", shape, ref.dtype)


def joined(b: Builder, parts: Sequence[Ref], axis: int) -> Ref:
    """Put values behind each other along an axis."""
    if len(parts) == 1:
        return parts[0]
    size = sum(one.shape[axis] for one in parts)
    shape = (*parts[0].shape[:axis], size, *parts[0].shape[axis + 1 :])
    return b.module.op("concatenation", parts, f"axis = {axis} : i32, {NO_ACTIVATION}", shape, parts[0].dtype)


def positive(size: int) -> int:
    """Return a size, or 0 for one below it; for `in_every_run`."""
    return max(0, size)
