"""Pooling and resizing."""

import math
from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last
from edgekit_converters.lowering.convolution import Window, window_of
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.onnx_graph import Node


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
    attributes = (
        f"filter_height = {window.kernel[0]} : i32, filter_width = {window.kernel[1]} : i32, {NO_ACTIVATION}, "
        f'padding = "VALID", stride_h = {window.strides[0]} : i32, stride_w = {window.strides[1]} : i32'
    )
    return b.module.op(op, [x], attributes, shape, x.dtype)


def _padded(b: Builder, x: Ref, pads: Sequence[tuple[int, int]], value: float) -> Ref:
    if not any(before or after for before, after in pads):
        return x
    shape = [x.shape[0], *(n + p[0] + p[1] for n, p in zip(x.shape[1:3], pads, strict=True)), x.shape[3]]
    operands = [x, b.module.ints([[0, 0], *map(list, pads), [0, 0]])]
    if value == 0:
        return b.module.op("pad", operands, "", shape, x.dtype)
    return b.module.op("padv2", [*operands, b.scalar(value)], "", shape, x.dtype)


def _finish(b: Builder, node: Node, ref: Ref) -> None:
    out = b.shape_of(node.outputs[0])
    stored = [out[axis] for axis in channels_last(len(out))]
    b.set(node.outputs[0], Tensor(b.reshaped(ref, stored), channels_last(len(out))))


def max_pool(b: Builder, node: Node) -> None:
    """Pads never win: the lowest float stands there."""
    if len(node.outputs) > 1 and node.outputs[1] in b.graph.uses:
        raise b.refuse(node, "its indices are used")
    x, window, shape = _two_dimensional(b, node)
    padded = _padded(b, x, _reach(window, x.shape[1:3], shape[1:3]), float(np.finfo(np.float32).min))
    _finish(b, node, _pool(b, "max_pool_2d", padded, window, shape))


def average_pool(b: Builder, node: Node) -> None:
    """Case 1: no pads. Case 2: pads with zeros, then each place is scaled by how many values ONNX counts there."""
    x, window, shape = _two_dimensional(b, node)
    pads = _reach(window, x.shape[1:3], shape[1:3])
    ref = _pool(b, "average_pool_2d", _padded(b, x, pads, 0.0), window, shape)
    counted = window.pads if node.attributes.get("count_include_pad", 0) else ((0, 0), (0, 0))
    factors = [
        _counts(size, pad, inside, k, s, count)
        for size, pad, inside, k, s, count in zip(
            x.shape[1:3], pads, counted, window.kernel, window.strides, shape[1:3], strict=True
        )
    ]
    scale = math.prod(window.kernel) / np.outer(*factors)
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


def resize(b: Builder, node: Node) -> None:
    """Nearest by whole factors, bilinear with half-pixel, aligned or asymmetric coordinates."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if x.rank != 4 or out[:2] != x.shape[:2]:  # noqa: PLR2004
        raise b.refuse(node, "only height and width of an image can be resized")
    mode = node.attributes.get("mode", "nearest")
    coordinates = node.attributes.get(
        "coordinate_transformation_mode", "half_pixel" if node.op == "Resize" else "asymmetric"
    )
    if node.op == "Resize" and len(node.inputs) == 2:  # noqa: PLR2004  # opset 10
        coordinates = "asymmetric"
    if node.attributes.get("antialias", 0) and any(o < i for o, i in zip(out[2:], x.shape[2:], strict=True)):
        raise b.refuse(node, "it is anti-aliased")
    _check_scales(b, node, x.shape, out)
    if mode == "nearest":
        rounding = node.attributes.get("nearest_mode", "round_prefer_floor" if node.op == "Resize" else "floor")
        whole = all(o % i == 0 for o, i in zip(out[2:], x.shape[2:], strict=True))
        exact = coordinates == "asymmetric" and rounding == "floor"
        centred = coordinates in {"half_pixel", "pytorch_half_pixel"} and rounding in {
            "round_prefer_floor",
            "round_prefer_ceil",
        }
        if not (
            exact
            or (whole and centred)
            or (whole and coordinates == "asymmetric" and node.inputs and len(node.inputs) == 2)
        ):  # noqa: PLR2004
            raise b.refuse(
                node, f"nearest with '{coordinates}' and '{rounding}' by this factor is another value in TFLite"
            )
        op, aligned, half = "resize_nearest_neighbor", "false", "false"
    elif mode in {"linear", "bilinear"} and coordinates in _LINEAR:
        op, (aligned, half) = "resize_bilinear", _LINEAR[coordinates]
        if coordinates == "pytorch_half_pixel" and 1 in out[2:]:
            raise b.refuse(node, "a size of 1 with 'pytorch_half_pixel' is another value in TFLite")
    else:
        raise b.refuse(node, f"mode '{mode}' with '{coordinates}' is not there")
    stored = b.spatial(x)
    attributes = f"align_corners = {aligned}, half_pixel_centers = {half}"
    shape = (out[0], out[2], out[3], out[1])
    ref = b.module.op(op, [stored, b.module.ints(list(out[2:]))], attributes, shape, x.dtype)
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


_LINEAR = {
    "half_pixel": ("false", "true"),
    "pytorch_half_pixel": ("false", "true"),
    "align_corners": ("true", "false"),
    "asymmetric": ("false", "false"),
}


def _check_scales(b: Builder, node: Node, shape: Sequence[int], out: Sequence[int]) -> None:
    """TFLite takes the factor from the sizes; a given factor that differs gives other values."""
    place = {"Upsample": 1, "Resize": 1 if len(node.inputs) == 2 else 2}[node.op]  # noqa: PLR2004
    given = b.constant_of(node, place)
    scales = given if given is not None else node.attributes.get("scales")
    if scales is None or len(scales) == 0:
        return
    for size, wanted, scale in zip(shape, out, scales, strict=True):
        if abs(size * float(scale) - wanted) > 1e-3 * wanted:
            raise b.refuse(node, f"its factor {float(scale):g} does not give a whole size")


POOLING = {
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "GlobalAveragePool": global_pool("mean"),
    "GlobalMaxPool": global_pool("reduce_max"),
    "Resize": resize,
    "Upsample": resize,
}
