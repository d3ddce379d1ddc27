"""Pooling over one to three axes.

All of it is written as 2-D pools: a line is an image with a height of 1, and a volume is pooled over height
and width, and then over its depth.
"""

import math
from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.graph.windows import Window
from edgekit_converters.lowering.arithmetic import absolute, binary, cast
from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last
from edgekit_converters.lowering.dims import in_every_run, is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import window_of
from edgekit_converters.lowering.max_places import max_pool_with_places, max_unpool
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reductions import reduce
from edgekit_converters.lowering.stored import padded, positive, stepped

_RANKS = {3: "1-D", 4: "2-D", 5: "3-D"}
_LOWEST = float(np.finfo(np.float32).min)
# Pools an image [n, h, w, c] with a 2-D window to the shape given.
_Pool = Callable[[Ref, Window, Sequence[int]], Ref]


def _over_axes(b: Builder, node: Node, x: Ref, pool: _Pool) -> Ref:
    """Pool a value; it and the result are stored with their channels last."""
    rank, out = len(x.shape), b.shape_of(node.outputs[0])
    if rank not in _RANKS:
        raise b.refuse(node, f"its input has rank {rank}, and {', '.join(_RANKS.values())} are there")
    window = window_of(b, node, node.attributes["kernel_shape"], x.shape[1:-1])
    shape = tuple(out[axis] for axis in channels_last(rank))
    if rank == 4:  # noqa: PLR2004
        ref = pool(x, window, shape)
    elif rank == 3:  # noqa: PLR2004
        ref = pool(b.reshaped(x, (x.shape[0], 1, *x.shape[1:])), window.flat(), (shape[0], 1, *shape[1:]))
    else:
        batch, depth, channels = x.shape[0], x.shape[1], shape[-1]
        planes = b.reshaped(x, (batch * depth, *x.shape[2:]))
        planes = pool(planes, window.behind_first(), (batch * depth, *shape[2:]))
        rows = b.reshaped(planes, (batch, depth, shape[2] * shape[3], channels))
        ref = pool(rows, window.first_of_two(), (batch, shape[1], shape[2] * shape[3], channels))
    return b.reshaped(ref, shape)


def _name(b: Builder, node: Node, ref: Ref) -> None:
    dtype = b.graph.values[node.outputs[0]].dtype
    b.set(node.outputs[0], Tensor(cast(b, ref, dtype), channels_last(len(ref.shape))))


def _reach(window: Window, spatial: Sequence[int], out: Sequence[int]) -> list[tuple[int, int]]:
    """Return pads so that windows cover exactly `out` places; `ceil_mode` asks for more behind."""
    pads = []
    for (before, _), k, s, size, count in zip(window.pads, window.extent, window.strides, spatial, out, strict=True):
        pads.append((before, in_every_run(positive, (count - 1) * s + k - size - before)))
    return pads


def _pool(b: Builder, op: str, x: Ref, window: Window, shape: Sequence[int]) -> Ref:
    """Write a pool without pads: a window that gives fewer places than asked for has TFLite's own."""
    axes = zip(x.shape[1:3], window.kernel, window.strides, shape[1:3], strict=True)
    padding = "VALID" if all((n - k) // s + 1 == count for n, k, s, count in axes) else "SAME"
    attributes = (
        f"filter_height = {window.kernel[0]} : i32, filter_width = {window.kernel[1]} : i32, {NO_ACTIVATION}, "
        f'padding = "{padding}", stride_h = {window.strides[0]} : i32, stride_w = {window.strides[1]} : i32'
    )
    return b.module.op(op, [x], attributes, shape, x.dtype)


def _dilated(b: Builder, op: str, x: Ref, window: Window, shape: Sequence[int]) -> Ref:
    """Combine what a window holds, one axis after the other: TFLite's pools have no dilation."""
    for axis in (1, 2):
        kernel, step, apart = (values[axis - 1] for values in (window.kernel, window.strides, window.dilations))
        parts = [stepped(b, x, axis, (place * apart, shape[axis], step)) for place in range(kernel)]
        x = parts[0]
        for one in parts[1:]:
            x = b.binary(op, x, one)
    return x


def _is_same(window: Window, pads: Sequence[tuple[int, int]], spatial: Sequence[int], out: Sequence[int]) -> bool:
    """Whether TFLite's SAME, which pads more behind, gives these pads."""
    if any(count != -(-size // s) for count, size, s in zip(out, spatial, window.strides, strict=True)):
        return False
    return all(after - before in {0, 1} for before, after in pads)


def _mirrored(b: Builder, x: Ref, pads: Sequence[tuple[int, int]]) -> Ref:
    shape = [size + before + after for size, (before, after) in zip(x.shape, pads, strict=True)]
    operands = [x, b.module.ints([list(pair) for pair in pads])]
    return b.module.op("mirror_pad", operands, "mode = #tfl<mirror_pad_attr SYMMETRIC>", shape, x.dtype)


def max_pool(b: Builder, node: Node) -> None:
    """Pads never win. The lowest float in them would ruin the scale of a quantized model, so it comes last.

    Case 1: no pads, or TFLite's own. Case 2: no value is below 0: zeros. Case 3: pads of at most half the
    kernel: mirrored values, which the window that reaches them holds anyway.
    """
    if len(node.outputs) > 1 and node.outputs[1] in b.graph.uses:
        max_pool_with_places(b, node)
        return

    def pool(x: Ref, window: Window, shape: Sequence[int]) -> Ref:
        spatial, out = x.shape[1:3], shape[1:3]
        pads = _reach(window, spatial, out)
        all_pads, whole = [(0, 0), *pads, (0, 0)], window.extent == window.kernel
        if whole and _is_same(window, pads, spatial, out):
            return _pool(b, "max_pool_2d", x, window, shape)
        small = all(2 * max(p) <= k and max(p) <= n for p, k, n in zip(pads, window.kernel, spatial, strict=True))
        if b.graph.is_never_negative(node.inputs[0]):
            x = padded(b, x, all_pads)
        elif whole and small:
            x = _mirrored(b, x, all_pads)
        else:
            x = padded(b, x, all_pads, _LOWEST)
        return _pool(b, "max_pool_2d", x, window, shape) if whole else _dilated(b, "maximum", x, window, shape)

    # TFLite pools small integers only with a scale
    _name(b, node, _over_axes(b, node, cast(b, b.spatial(b.input(node)), "float32"), pool))


def _sums(b: Builder, x: Ref, window: Window, shape: Sequence[int]) -> Ref:
    """Write the sums of windows, zeros around the image, divided by the kernel's size."""
    x = padded(b, x, [(0, 0), *_reach(window, x.shape[1:3], shape[1:3]), (0, 0)])
    if window.extent == window.kernel:
        return _pool(b, "average_pool_2d", x, window, shape)
    return b.binary("mul", _dilated(b, "add", x, window, shape), b.scalar(1 / math.prod(window.kernel)))


def average_pool(b: Builder, node: Node) -> None:
    """Case 1: no pads, or TFLite's own, not counted. Case 2: zeros, and each place scaled by what ONNX counts there."""

    def pool(x: Ref, window: Window, shape: Sequence[int]) -> Ref:
        spatial, out = x.shape[1:3], shape[1:3]
        pads = _reach(window, spatial, out)
        counted = bool(node.attributes.get("count_include_pad", 0)) and any(map(any, window.pads))
        if not counted and window.extent == window.kernel and _is_same(window, pads, spatial, out):
            return _pool(b, "average_pool_2d", x, window, shape)
        down, across = (_counts(window, axis, (spatial[axis], out[axis]), counted=counted) for axis in (0, 1))
        scale = math.prod(window.kernel) / np.outer(down, across)
        ref = _sums(b, x, window, shape)
        if np.allclose(scale, 1.0):
            return ref
        if any(map(is_free, out)):
            raise b.refuse(node, "how many places a window has follows from a free dimension")
        return b.binary("mul", ref, b.module.constant(scale[None, :, :, None].astype(np.float32)))

    _name(b, node, _over_axes(b, node, b.spatial(b.input(node)), pool))


def _counts(window: Window, axis: int, sizes: tuple[int, int], *, counted: bool) -> list[int]:
    """Return for each window along an axis (in, out) how many of its places are in the input, or in pads that count."""
    (before, after), apart = window.pads[axis], window.dilations[axis]
    low, high = (-before, sizes[0] + after) if counted else (0, sizes[0])
    starts = [place * window.strides[axis] - before for place in range(sizes[1])]
    return [max(1, sum(low <= start + one * apart < high for one in range(window.kernel[axis]))) for start in starts]


def lp_pool(b: Builder, node: Node) -> None:
    """The p-th root of the sum of p-th powers; zeros around the image add nothing to it."""
    power = node.attributes.get("p", 2)

    def pool(x: Ref, window: Window, shape: Sequence[int]) -> Ref:
        return b.binary("mul", _sums(b, x, window, shape), b.scalar(math.prod(window.kernel)))

    powers = _powers(b, b.spatial(b.input(node)), power)
    _name(b, node, _root(b, _over_axes(b, node, powers, pool), power))


def _powers(b: Builder, x: Ref, power: int) -> Ref:
    if power == 2:  # noqa: PLR2004
        return b.binary("mul", x, x)
    positive = absolute(b, x)
    return positive if power == 1 else binary(b, "pow", positive, b.scalar(power))


def _root(b: Builder, x: Ref, power: int) -> Ref:
    if power == 2:  # noqa: PLR2004
        return b.unary("sqrt", x)
    return x if power == 1 else binary(b, "pow", x, b.scalar(1 / power))


def _global(over: Callable[[Builder, Node, Ref, Sequence[int]], Ref]) -> Callable[[Builder, Node], None]:
    """Return a lowering over all spatial axes, which stay with size 1."""

    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        _name(b, node, over(b, node, b.spatial(x), range(1, x.rank - 1)))

    return lower


def _global_lp(b: Builder, node: Node, x: Ref, axes: Sequence[int]) -> Ref:
    power = node.attributes.get("p", 2)
    return _root(b, reduce(b, "sum", _powers(b, x, power), axes), power)


POOLING = {
    "MaxPool": max_pool,
    "MaxUnpool": max_unpool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalAveragePool": _global(lambda b, _node, x, axes: reduce(b, "mean", x, axes)),
    "GlobalMaxPool": _global(lambda b, _node, x, axes: reduce(b, "reduce_max", x, axes)),
    "GlobalLpPool": _global(_global_lp),
}
