"""Ops on stored values with broadcasting, for every dtype: TFLite computes small integers in int32."""

import math
from collections.abc import Callable, Sequence

from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.dims import broadcast, is_free
from edgekit_converters.lowering.module import Ref

_ANY_RANK = frozenset({"add", "sub", "mul", "div"})  # up to 6
_MOST_AXES = 4  # of all other ops that broadcast; MAXIMUM, MINIMUM and SELECT_V2 know 5
# TFLite's kernels for these take quantized numbers only; int32 holds them all, and a cast back wraps as ONNX does.
_NARROW = frozenset({"int8", "uint8"})


def cast(b: Builder, ref: Ref, dtype: str) -> Ref:
    """Return the values in another dtype; floats are cut off towards zero."""
    return ref if ref.dtype == dtype else b.module.op("cast", [ref], "", ref.shape, dtype)


def widened(b: Builder, ref: Ref) -> Ref:
    """Return small integers as int32, everything else as it is."""
    return cast(b, ref, "int32") if ref.dtype in _NARROW else ref


def binary(b: Builder, op: str, left: Ref, right: Ref) -> Ref:
    """Write add, sub, mul, div, maximum, minimum, floor_mod, pow in the operands' dtype."""
    wide = [widened(b, left), widened(b, right)]
    if op in _ANY_RANK:
        return cast(b, b.binary(op, *wide), left.dtype)
    return cast(b, _low_rank(b, wide, lambda refs: b.binary(op, *refs)), left.dtype)


def compare(b: Builder, op: str, left: Ref, right: Ref) -> Ref:
    """Write equal, not_equal, less, less_equal, greater, greater_equal, logical_and or logical_or."""

    def write(refs: Sequence[Ref]) -> Ref:
        return b.module.op(op, refs, "", broadcast(*(one.shape for one in refs)), "bool")

    return _low_rank(b, [widened(b, left), widened(b, right)], write)


def select(b: Builder, condition: Ref, left: Ref, right: Ref) -> Ref:
    """Return `left` where the condition holds, else `right`."""

    def write(refs: Sequence[Ref]) -> Ref:
        return b.module.op("select_v2", refs, "", broadcast(*(one.shape for one in refs)), left.dtype)

    return _low_rank(b, [condition, left, right], write)


def _low_rank(b: Builder, refs: Sequence[Ref], write: Callable[[Sequence[Ref]], Ref]) -> Ref:
    """Write an op that broadcasts over 4 axes at most: neighbours along which the same operands have size 1 become one.

    Where that leaves more than 4, the operands are broadcast one by one before.
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


def _spread(b: Builder, ref: Ref, shape: Sequence[int]) -> Ref:
    return b.module.op("broadcast_to", [ref, b.module.ints(list(shape))], "", shape, ref.dtype)


def absolute(b: Builder, ref: Ref) -> Ref:
    """Return |x|; TFLite has it for float32 and int32."""
    if ref.dtype == "int64":
        return b.binary("maximum", ref, b.unary("neg", ref))
    return cast(b, b.unary("abs", widened(b, ref)), ref.dtype)


def single(b: Builder, ref: Ref, dtype: str | None = None) -> Ref:
    """Return one number, whatever the shape it came in, as a scalar."""
    return cast(b, b.reshaped(ref, ()), dtype or ref.dtype)


def counted(b: Builder, size: int) -> Ref:
    """Return the int32 numbers from 0 up to a size, which may be free."""
    if not is_free(size):
        return b.module.ints(list(range(size)))
    limit = b.reshaped(b.module.ints([size]), ())
    return b.module.op("range", [b.module.ints(0), limit, b.module.ints(1)], "", [size], "int32")
