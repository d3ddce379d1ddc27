"""RoiAlign: parts of feature maps, resampled to one size."""

import math

import numpy as np

from edgekit_converters.lowering.arithmetic import cast
from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.expressions import Expression
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.interpolation import Numbers
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.sampling import Tap, linear, samples, weighted, within

_HALF_PIXELS = 16  # the opset from which they are the default


def roi_align(b: Builder, node: Node) -> None:
    """A fixed number of samples a bin, averaged, or the largest of what their neighbours count."""
    x, out, count = b.input(node), b.shape_of(node.outputs[0]), node.attributes.get("sampling_ratio", 0)
    if count <= 0:
        raise b.refuse(node, "its sampling_ratio is 0: how many samples it takes follows from its regions")
    sizes = x.shape[2:]
    if any(map(is_free, sizes)):
        raise b.refuse(node, "the height or width of its image is free")
    default = "half_pixel" if b.graph.opset >= _HALF_PIXELS else "output_half_pixel"
    half = node.attributes.get("coordinate_transformation_mode", default) == "half_pixel"
    scaled = Expression(b, b.plain(b.input(node, 1))) * node.attributes.get("spatial_scale", 1.0) - (
        0.5 if half else 0.0
    )
    taps = []
    for axis, size in enumerate(sizes):
        low, high = (scaled.part(1, 1 - axis + 2 * side) for side in (0, 1))
        at = _coordinates(low, high - low if half else np.maximum(high - low, 1.0), out[2 + axis], count)
        shape = (out[0], at.ref.shape[1], 1) if axis == 0 else (out[0], 1, at.ref.shape[1])
        taps.append(_taps(at.reshape(*shape), size))
    start = b.binary("mul", cast(b, b.plain(b.input(node, 2)), "int32"), b.module.ints(math.prod(sizes)))
    table = b.reshaped(b.spatial(x), (x.shape[0] * math.prod(sizes), x.shape[1]))
    found = samples(b, table, b.reshaped(start, (out[0], 1, 1)), sizes, taps)
    largest = node.attributes.get("mode", "avg") == "max"
    if largest:
        values: Numbers = None
        for rows, weight in found:
            one = Expression(b, rows) * weight.reshape(*weight.ref.shape, 1)
            values = one if values is None else np.maximum(values, one)
    else:
        values = weighted(found, b)
    ref = _pooled(b, values.ref, count, largest=largest)
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


def _coordinates(low: Numbers, length: Numbers, bins: int, count: int) -> Numbers:
    """Return where along an axis samples lie: `count` in each of `bins` equal parts, [regions, bins * count]."""
    places = (np.arange(bins * count, dtype=np.float32) + 0.5) / np.float32(bins * count)
    return low + length * places.reshape(1, -1)


def _taps(at: Numbers, size: int) -> list[Tap]:
    """Return both neighbours; a sample more than 1 outside counts nothing."""
    counts = np.greater_equal(at, -1.0) * np.less_equal(at, float(size))
    return [Tap(within(one.place, size), one.weight * counts) for one in linear(within(at, size))]


def _pooled(b: Builder, ref: Ref, count: int, *, largest: bool) -> Ref:
    shape = (ref.shape[0], ref.shape[1] // count, ref.shape[2] // count, ref.shape[3])
    attributes = (
        f"filter_height = {count} : i32, filter_width = {count} : i32, {NO_ACTIVATION}, "
        f'padding = "VALID", stride_h = {count} : i32, stride_w = {count} : i32'
    )
    return b.module.op("max_pool_2d" if largest else "average_pool_2d", [ref], attributes, shape, ref.dtype)


REGIONS = {"RoiAlign": roi_align}
