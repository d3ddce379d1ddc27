"""DeformConv: a convolution that looks beside its places, by offsets known at run time."""

import math

import numpy as np

from edgekit_converters.graph.windows import Window
from edgekit_converters.lowering.builder import Builder, Tensor, channels_last
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.expressions import Expression
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import Kernel, window_of
from edgekit_converters.lowering.matrix import dense
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.sampling import Tap, linear, samples, start_of, weighted, zeros_around
from edgekit_converters.lowering.stored import joined, part
from edgekit_converters.model import Array


def deform_conv(b: Builder, node: Node) -> None:
    """Samples of all places of the kernel side by side, times the weights."""
    x, kernel, out = b.input(node), Kernel.of(b, node), b.shape_of(node.outputs[0])
    if x.rank != 4 or any(map(is_free, (*x.shape[2:], *out[2:]))):  # noqa: PLR2004
        raise b.refuse(node, "only images whose height and width are known beforehand are there")
    window = window_of(b, node, kernel.shape[2:], x.shape[2:])
    seen = _seen(b, node, x, window)  # [places, kernel, channels]
    group, each = node.attributes.get("group", 1), kernel.shape[1]
    rows, made, parts = seen.shape[0], kernel.shape[0] // group, []
    places = math.prod(window.kernel)
    for number in range(group):
        inputs = b.reshaped(part(b, seen, 2, number * each, each), (rows, places * each))
        weights = b.reshaped(kernel.part(0, number * made, made).stored((0, 2, 3, 1)), (made, places * each))
        parts.append(dense(b, inputs, weights))
    ref = joined(b, parts, 1)
    if len(node.inputs) > 3 and node.inputs[3]:  # noqa: PLR2004
        ref = b.binary("add", ref, b.input(node, 3).ref)
    b.set(node.outputs[0], Tensor(b.reshaped(ref, (out[0], *out[2:], out[1])), channels_last(4)))


def _seen(b: Builder, node: Node, x: Tensor, window: Window) -> Ref:
    """Return what the kernel sees at each place: [batch * height * width, kernel, channels]."""
    groups, places = node.attributes.get("offset_group", 1), math.prod(window.kernel)
    out, sizes = b.shape_of(node.outputs[0]), x.shape[2:]
    rows = out[0] * math.prod(out[2:])
    offsets = Expression(b, b.reshaped(b.spatial(b.input(node, 2)), (rows, groups * places, 2)))
    masked = len(node.inputs) > 4 and node.inputs[4]  # noqa: PLR2004
    mask = Expression(b, b.reshaped(b.spatial(b.input(node, 4)), (rows, groups * places, 1))) if masked else None
    table = b.reshaped(b.spatial(x), (x.shape[0] * math.prod(sizes), x.shape[1]))
    start = _each_place(b, start_of(b, out[0], math.prod(sizes)), math.prod(out[2:]))
    each, parts = x.shape[1] // groups, []
    for group in range(groups):
        taps: list[list[Tap]] = []
        for axis in (0, 1):
            offset = offsets.part(1, group * places, places).part(2, axis).reshape(out[0], math.prod(out[2:]), places)
            at = (offset + _regular(window, axis, out)).reshape(rows, places)
            taps.append([zeros_around(one, sizes[axis]) for one in linear(at)])
        channels = part(b, table, 1, group * each, each)
        found = weighted(samples(b, channels, start, sizes, taps), b)
        parts.append((found if mask is None else found * mask.part(1, group * places, places)).ref)
    return joined(b, parts, 2)


def _each_place(b: Builder, starts: Ref, places: int) -> Ref:
    """Return the first row of the image each place of the result belongs to: [batch * places, 1]."""
    batch = starts.shape[0]
    shape = (batch, places)
    wide = b.module.op("broadcast_to", [b.reshaped(starts, (batch, 1)), b.module.ints(list(shape))], "", shape, "int32")
    return b.reshaped(wide, (batch * places, 1))


def _regular(window: Window, axis: int, out: tuple[int, ...]) -> Array:
    """Return where the kernel looks without offsets, along one axis: [1, height * width, kernel]."""
    first = [np.arange(out[2 + one]) * window.strides[one] - window.pads[one][0] for one in (0, 1)]
    inner = [np.arange(window.kernel[one]) * window.dilations[one] for one in (0, 1)]
    outside = np.meshgrid(*first, indexing="ij")[axis].ravel()
    inside = np.meshgrid(*inner, indexing="ij")[axis].ravel()
    return (outside[:, None] + inside[None, :])[None].astype(np.float32)


DEFORMED = {"DeformConv": deform_conv}
