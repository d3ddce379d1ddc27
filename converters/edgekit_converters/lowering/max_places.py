"""Max pooling that also tells where the highest values were, and its inverse."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from edgekit_converters.graph.windows import Window
from edgekit_converters.lowering.arithmetic import cast, compare, select
from edgekit_converters.lowering.builder import Builder, Tensor, channels_last, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import window_of
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.stored import padded, stepped
from edgekit_converters.model import Array

_LOWEST = float(np.finfo(np.float32).min)
_MOST_PLACES = 64


def max_pool_with_places(b: Builder, node: Node) -> None:
    """Compare the places of the kernel one after the other; of equal values the first wins."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    window = window_of(b, node, node.attributes["kernel_shape"], x.shape[2:])
    if any(map(is_free, (*x.shape, *out))):
        raise b.refuse(node, "its indices are used, and a dimension is free")
    if math.prod(window.kernel) > _MOST_PLACES:
        raise b.refuse(node, f"its indices are used, and its kernel has more than {_MOST_PLACES} places")
    spatial, count = x.shape[2:], out[2:]
    reach = [(n - 1) * s + k for n, s, k in zip(count, window.strides, window.extent, strict=True)]
    pads = [(p[0], max(0, r - size - p[0])) for p, r, size in zip(window.pads, reach, spatial, strict=True)]
    image = padded(b, b.spatial(x), [(0, 0), *pads, (0, 0)], _LOWEST)
    best = place = None
    for offsets in itertools.product(*map(range, window.kernel)):
        values = _values(b, image, window, offsets, count)
        known = b.module.constant(_places(window, offsets, spatial, count, node.attributes.get("storage_order", 0)))
        if best is None or place is None:
            best, place = values, known
            continue
        place = select(b, compare(b, "greater", values, best), known, place)
        best = b.binary("maximum", best, values)
    if best is None or place is None:
        raise AssertionError("a kernel has at least one place")
    planes = np.arange(x.shape[0] * x.shape[1]).reshape(x.shape[0], *([1] * len(spatial)), x.shape[1])
    start = b.module.constant((planes * math.prod(spatial)).astype(np.int32))
    found = cast(b, b.binary("add", place, start), "int64")
    b.set(node.outputs[0], Tensor(best, channels_last(x.rank)))
    b.set(node.outputs[1], Tensor(found, channels_last(x.rank)))


def _values(b: Builder, image: Ref, window: Window, offsets: Sequence[int], count: Sequence[int]) -> Ref:
    """Return what one place of the kernel sees."""
    for axis, (offset, size) in enumerate(zip(offsets, count, strict=True), start=1):
        places = (offset * window.dilations[axis - 1], size, window.strides[axis - 1])
        image = stepped(b, image, axis, places)
    return image


def _places(
    window: Window, offsets: Sequence[int], spatial: Sequence[int], count: Sequence[int], column_major: int
) -> Array:
    """Return where in a plane one place of the kernel looks: int32 [1, *count, 1]."""
    seen = [
        np.clip(np.arange(n) * s + offset * d - pads[0], 0, size - 1)
        for n, s, offset, d, pads, size in zip(
            count, window.strides, offsets, window.dilations, window.pads, spatial, strict=True
        )
    ]
    grid = np.meshgrid(*seen, indexing="ij")
    flat = np.asarray(np.ravel_multi_index(tuple(grid), tuple(spatial), order="F" if column_major else "C"))
    return flat.astype(np.int32)[None, ..., None]


def max_unpool(b: Builder, node: Node) -> None:
    """Put values where indices say, zeros elsewhere.

    Windows that overlap name a value twice; TFLite adds them up, so the sum is divided by their number.
    """
    x, places, out = b.input(node), b.input(node, 1), b.shape_of(node.outputs[0])
    if any(map(is_free, (*x.shape, *out))):
        raise b.refuse(node, "a dimension is free")
    window = window_of(b, node, node.attributes["kernel_shape"], x.shape[2:])
    axes = zip(x.shape[2:], window.strides, window.kernel, window.pads, strict=True)
    inner = (*out[:2], *((n - 1) * s + k - sum(p) for n, s, k, p in axes))
    if inner != out:
        raise b.refuse(node, "its output_shape is not what it reaches, and its indices are read in two ways then")
    indices = b.reshaped(cast(b, b.plain(places), "int32"), (math.prod(x.shape), 1))
    values = b.reshaped(b.plain(x), (math.prod(x.shape),))
    ref = _scattered(b, indices, values, out)
    if any(s < k for s, k in zip(window.strides, window.kernel, strict=True)):
        ones = b.module.constant(np.ones(values.shape, np.float32))
        named = b.binary("maximum", _scattered(b, indices, ones, out), b.scalar(1.0))
        ref = b.binary("div", ref, named)
    b.set(node.outputs[0], Tensor(ref, identity(x.rank)))


def _scattered(b: Builder, indices: Ref, values: Ref, shape: Sequence[int]) -> Ref:
    size = math.prod(shape)
    ref = b.module.op("scatter_nd", [indices, values, b.module.ints([size])], "", [size], values.dtype)
    return b.reshaped(ref, shape)
