"""Broadcasting over more axes than the runtimes' kernels do.

Over more than 4 axes the compiler refuses most ops, and tflite-runtime 2.14 ends the process in MUL (5 axes
and more), SUB and DIV (6) where no delegate takes them.
"""

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from edgekit_converters.lowering.dims import broadcast
from edgekit_converters.lowering.module import Ref

if TYPE_CHECKING:
    from edgekit_converters.lowering.builder import Builder

_MOST_AXES = 4


def low_rank(b: "Builder", refs: Sequence[Ref], write: Callable[[Sequence[Ref]], Ref]) -> Ref:
    """Write an op that broadcasts over 4 axes at most: neighbours along which the same operands have size 1 become one.

    Where that leaves more than 4, the operands are repeated one by one before.
    """
    shape = broadcast(*(ref.shape for ref in refs))
    if len(shape) <= _MOST_AXES or all(ref.shape == shape for ref in refs):
        return write(refs)
    full = [(1,) * (len(shape) - len(ref.shape)) + ref.shape for ref in refs]
    groups: list[list[int]] = []
    kinds: list[tuple[bool, ...]] = []
    for axis in range(len(shape)):
        kind = tuple(sizes[axis] == 1 for sizes in full)
        if (all(kind) and groups) or kinds[-1:] == [kind]:
            groups[-1].append(axis)
        else:
            groups.append([axis])
            kinds.append(kind)
    if len(groups) > _MOST_AXES:
        return write([_spread(b, ref, shape) for ref in refs])
    short = [
        b.reshaped(ref, [math.prod(sizes[axis] for axis in group) for group in groups])
        for ref, sizes in zip(refs, full, strict=True)
    ]
    return b.reshaped(write(short), shape)


def _spread(b: "Builder", ref: Ref, shape: Sequence[int]) -> Ref:
    """Repeat values by TILE: the compiler puts a BROADCAST_TO back into the op behind it."""
    grown = (1,) * (len(shape) - len(ref.shape)) + ref.shape
    times = [wide if size == 1 else 1 for size, wide in zip(grown, shape, strict=True)]
    return b.module.op("tile", [b.reshaped(ref, grown), b.module.ints(times)], "", shape, ref.dtype)
