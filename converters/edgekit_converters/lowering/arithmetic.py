"""Ops on stored values with broadcasting, for every dtype: TFLite computes small integers in int32."""

from collections.abc import Sequence

from edgekit_converters.lowering.broadcasting import low_rank
from edgekit_converters.lowering.builder import Builder
from edgekit_converters.lowering.dims import broadcast, is_free
from edgekit_converters.lowering.module import Ref

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
    return cast(b, b.binary(op, widened(b, left), widened(b, right)), left.dtype)


def compare(b: Builder, op: str, left: Ref, right: Ref) -> Ref:
    """Write equal, not_equal, less, less_equal, greater, greater_equal, logical_and or logical_or."""

    def write(refs: Sequence[Ref]) -> Ref:
        return b.module.op(op, refs, "", broadcast(*(one.shape for one in refs)), "bool")

    return low_rank(b, [widened(b, left), widened(b, right)], write)


def select(b: Builder, condition: Ref, left: Ref, right: Ref) -> Ref:
    """Return `left` where the condition holds, else `right`."""

    def write(refs: Sequence[Ref]) -> Ref:
        return b.module.op("select_v2", refs, "", broadcast(*(one.shape for one in refs)), left.dtype)

    return low_rank(b, [condition, left, right], write)


def absolute(b: Builder, ref: Ref) -> Ref:
    """Return |x|; TFLite has it for float32 and int32."""
    if ref.dtype == "int64":
        return b.binary("maximum", ref, b.unary("neg", ref))
    return cast(b, b.unary("abs", widened(b, ref)), ref.dtype)


def quotient(b: Builder, left: Ref, right: Ref) -> Ref:
    """Return left / right, integers cut off towards zero.

    TFLite does not divide int64. There, what FLOOR_MOD leaves is taken off, so that the division has no rest,
    and is then approximated in float32: each step leaves less than 2^-22 of the error of the one before,
    and rounds to a whole number, so that after three of them none is left of 63 bits.
    """
    if left.dtype != "int64":
        return binary(b, "div", left, right)
    divisor, left_size = absolute(b, right), absolute(b, left)
    rest = b.binary("sub", left_size, b.binary("floor_mod", left_size, divisor))
    floats, zero = cast(b, divisor, "float32"), b.scalar(0, "int64")
    total = zero
    for _ in range(3):
        step = cast(b, b.unary("round", b.binary("div", cast(b, rest, "float32"), floats)), "int64")
        rest = b.binary("sub", rest, b.binary("mul", step, divisor))
        total = b.binary("add", total, step)
    apart = compare(b, "not_equal", compare(b, "less", left, zero), compare(b, "less", right, zero))
    return select(b, apart, b.unary("neg", total), total)


def single(b: Builder, ref: Ref, dtype: str | None = None) -> Ref:
    """Return one number, whatever the shape it came in, as a scalar."""
    return cast(b, b.reshaped(ref, ()), dtype or ref.dtype)


def counted(b: Builder, size: int) -> Ref:
    """Return the int32 numbers from 0 up to a size, which may be free."""
    if not is_free(size):
        return b.module.ints(list(range(size)))
    limit = b.reshaped(b.module.ints([size]), ())
    return b.module.op("range", [b.module.ints(0), limit, b.module.ints(1)], "", [size], "int32")
