"""Pooling, 1-D and 2-D."""

import math
from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import Window, window_of
from edgekit_converters.lowering.module import Ref


def _two_dimensional(b: Builder, node: Node) -> tuple[Ref, Window, tuple[int, ...]]:
    """Return the input NHWC, the window and the output's stored shape; 1-D becomes 2-D with a height of 1."""
    x = b.input(node)
    if x.rank not in {3, 4}:
        raise b.refuse(node, f"its input has rank {x.rank}, and 1-D and 2-D are there")
    window = window_of(b, node, node.attributes["kernel_shape"], x.shape[2:])
    if any(d != 1 for d in window.dilations):
        raise b.refuse(node, "it is dilated")
    stored, out = b.spatial(x), b.shape_of(node.outputs[0])
    if x.rank == 4:  # noqa: PLR2004
        return stored, window, (out[0], out[2], out[3], out[1])
    stored = b.reshaped(stored, (stored.shape[0], 1, *stored.shape[1:]))
    window = Window((1, *window.kernel), (1, *window.strides), (1, 1), ((0, 0), *window.pads))
    return stored, window, (out[0], 1, out[2], out[1])


def _reach(window: Window, spatial: Sequence[int], out: Sequence[int]) -> list[tuple[int, int]]:
    """Return pads so that windows cover exactly `out` places; `ceil_mode` asks for more behind."""
    pads = []
    for (before, _), k, s, size, count in zip(window.pads, window.kernel, window.strides, spatial, out, strict=True):
        pads.append((before, max(0, (count - 1) * s + k - size - before)))
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


def _is_same(window: Window, pads: Sequence[tuple[int, int]], spatial: Sequence[int], out: Sequence[int]) -> bool:
    """Whether TFLite's SAME, which pads more behind, gives these pads."""
    if any(count != -(-size // s) for count, size, s in zip(out, spatial, window.strides, strict=True)):
        return False
    return all(after - before in {0, 1} for before, after in pads)


def _padded(b: Builder, op: str, x: Ref, pads: Sequence[tuple[int, int]], *value: Ref | str) -> Ref:
    if not any(before or after for before, after in pads):
        return x
    shape = [x.shape[0], *(n + p[0] + p[1] for n, p in zip(x.shape[1:3], pads, strict=True)), x.shape[3]]
    attributes = "mode = #tfl<mirror_pad_attr SYMMETRIC>" if op == "mirror_pad" else ""
    return b.module.op(op, [x, b.module.ints([[0, 0], *map(list, pads), [0, 0]]), *value], attributes, shape, x.dtype)


def _finish(b: Builder, node: Node, ref: Ref) -> None:
    out = b.shape_of(node.outputs[0])
    stored = [out[axis] for axis in channels_last(len(out))]
    b.set(node.outputs[0], Tensor(b.reshaped(ref, stored), channels_last(len(out))))


def max_pool(b: Builder, node: Node) -> None:
    """Pads never win. The lowest float in them would ruin the scale of a quantized model, so it comes last.

    Case 1: no pads, or TFLite's own. Case 2: no value is below 0: zeros. Case 3: pads of at most half the
    kernel: mirrored values, which the window that reaches them holds anyway.
    """
    if len(node.outputs) > 1 and node.outputs[1] in b.graph.uses:
        raise b.refuse(node, "its indices are used")
    x, window, shape = _two_dimensional(b, node)
    spatial, out = x.shape[1:3], shape[1:3]
    pads = _reach(window, spatial, out)
    if _is_same(window, pads, spatial, out):
        _finish(b, node, _pool(b, "max_pool_2d", x, window, shape))
        return
    if b.graph.is_never_negative(node.inputs[0]):
        padded = _padded(b, "pad", x, pads)
    elif all(2 * max(p) <= k and max(p) <= n for p, k, n in zip(pads, window.kernel, spatial, strict=True)):
        padded = _padded(b, "mirror_pad", x, pads)
    else:
        padded = _padded(b, "padv2", x, pads, b.scalar(float(np.finfo(np.float32).min)))
    _finish(b, node, _pool(b, "max_pool_2d", padded, window, shape))


def average_pool(b: Builder, node: Node) -> None:
    """Case 1: no pads, or TFLite's own, not counted. Case 2: zeros, and each place scaled by what ONNX counts there."""
    x, window, shape = _two_dimensional(b, node)
    pads = _reach(window, x.shape[1:3], shape[1:3])
    counted = bool(node.attributes.get("count_include_pad", 0)) and any(map(any, window.pads))
    if not counted and _is_same(window, pads, x.shape[1:3], shape[1:3]):
        _finish(b, node, _pool(b, "average_pool_2d", x, window, shape))
        return
    ref = _pool(b, "average_pool_2d", _padded(b, "pad", x, pads), window, shape)
    inside = window.pads if counted else ((0, 0), (0, 0))
    axes = zip(x.shape[1:3], pads, inside, window.kernel, window.strides, shape[1:3], strict=True)
    down, across = (np.array(_counts(*axis), np.float64) for axis in axes)
    scale = math.prod(window.kernel) / np.outer(down, across)
    if not np.allclose(scale, 1.0):
        ref = b.binary("mul", ref, b.module.constant(scale[None, :, :, None].astype(np.float32)))
    _finish(b, node, ref)


def _counts(size: int, pad: tuple[int, int], inside: tuple[int, int], k: int, s: int, count: int) -> list[int]:  # noqa: PLR0913, PLR0917  # one axis
    """Return for each window how many of its places are in the input, or in the pads that count."""
    low, high = pad[0] - inside[0], pad[0] + size + inside[1]
    return [max(1, min(place * s + k, high) - max(place * s, low)) for place in range(count)]


def global_pool(op: str):  # type: ignore[no-untyped-def]  # noqa: ANN201  # a lowering
    """Over all spatial axes, which stay with size 1."""

    def lower(b: Builder, node: Node) -> None:
        x = b.input(node)
        stored = b.spatial(x)
        axes = list(range(1, x.rank - 1))
        shape = (stored.shape[0], *([1] * len(axes)), stored.shape[-1])
        ref = b.module.op(op, [stored, b.module.ints(axes)], "keep_dims = true", shape, x.dtype)
        b.set(node.outputs[0], Tensor(ref, channels_last(x.rank)))

    return lower


POOLING = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("mean"),
    "GlobalMaxPool": global_pool("reduce_max"),
}
