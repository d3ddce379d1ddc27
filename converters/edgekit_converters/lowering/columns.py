"""Col2Im: blocks of an image laid out as columns, put back and added up where they overlap."""

import math

import numpy as np

from edgekit_converters.graph.windows import Window
from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import window_of
from edgekit_converters.lowering.stored import part
from edgekit_converters.model import Array


def col2im(b: Builder, node: Node) -> None:
    """One SCATTER_ND, which adds up what falls on one place; the padding has a row of its own, which is cut off."""
    image, block = (b.constant_of(node, place) for place in (1, 2))
    if image is None or block is None:
        raise b.refuse(node, "the sizes of its image and block are not given")
    sizes, kernel = tuple(image.tolist()), tuple(block.tolist())
    x, (batch, channels) = b.input(node), b.shape_of(node.outputs[0])[:2]
    places = _places(window_of(b, node, kernel, sizes), sizes)
    count = math.prod(sizes)
    blocks = b.reshaped(b.plain(x), (batch, channels, math.prod(kernel), x.shape[2]))
    first = b.order(Tensor(blocks, (0, 1, 2, 3)), (2, 3, 0, 1)).ref
    rows = b.reshaped(first, (places.size, batch * channels))
    shape = (count + 1, batch * channels)
    indices = b.module.constant(places.reshape(-1, 1).astype(np.int32))
    ref = b.module.op("scatter_nd", [indices, rows, b.module.ints(list(shape))], "", shape, x.dtype)
    ref = b.reshaped(part(b, ref, 0, 0, count), (*sizes, batch, channels))
    rank = len(sizes)
    b.set(node.outputs[0], Tensor(ref, (*range(2, 2 + rank), 0, 1)))


def _places(window: Window, sizes: tuple[int, ...]) -> Array:
    """Return where in the flattened image each value lies: [block places, blocks]; those outside lie behind its end."""
    along = []
    for axis, size in enumerate(sizes):
        (before, after), reach = window.pads[axis], window.extent[axis]
        starts = np.arange(0, size + before + after - reach + 1, window.strides[axis]) - before
        along.append((np.arange(window.kernel[axis]) * window.dilations[axis])[:, None] + starts[None, :])
    rank = len(sizes)
    flat, outside = np.zeros((), np.int64), np.zeros((), np.bool_)
    for axis, size in enumerate(sizes):
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = along[axis].shape
        one = along[axis].reshape(shape)
        flat = flat * size + one
        outside = outside | (one < 0) | (one >= size)
    blocks = math.prod(one.shape[1] for one in along)
    return np.where(outside, math.prod(sizes), flat).reshape(math.prod(window.kernel), blocks)


COLUMNS = {"Col2Im": col2im}
