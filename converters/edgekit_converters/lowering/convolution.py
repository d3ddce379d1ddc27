"""Convolutions, plain and transposed, 1-D and 2-D."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.model import Array


@dataclass(frozen=True, slots=True)
class Window:
    """A window over spatial axes; `pads` are (before, after) an axis."""

    kernel: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]


def window_of(b: Builder, node: Node, kernel: Sequence[int], spatial: Sequence[int]) -> Window:
    """Read strides, dilations and pads; `auto_pad` becomes explicit pads."""
    rank = len(kernel)
    strides = tuple(node.attributes.get("strides", [1] * rank))
    dilations = tuple(node.attributes.get("dilations", [1] * rank))
    auto = node.attributes.get("auto_pad", "NOTSET")
    if auto in {"SAME_UPPER", "SAME_LOWER"}:
        pads = []
        for size, k, s, d in zip(spatial, kernel, strides, dilations, strict=True):
            total = max(0, (-(-size // s) - 1) * s + (k - 1) * d + 1 - size)
            less, more = total // 2, total - total // 2
            pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
    elif auto in {"NOTSET", "VALID", ""}:
        flat = [0] * (2 * rank) if auto == "VALID" else list(node.attributes.get("pads", [0] * (2 * rank)))
        pads = list(zip(flat[:rank], flat[rank:], strict=True))
    else:
        raise b.refuse(node, f"auto_pad is '{auto}'")
    return Window(tuple(kernel), strides, dilations, tuple(pads))


def conv(b: Builder, node: Node) -> None:
    """Case 1: constant weights, 1-D or 2-D, any group, pad, stride and dilation."""
    x, weights, bias = b.input(node), b.constant_of(node, 1), b.constant_of(node, 2)
    if weights is None or x.rank not in {3, 4}:
        raise b.refuse(node, f"its input has rank {x.rank}, and 1-D and 2-D are there")
    window = window_of(b, node, weights.shape[2:], x.shape[2:])
    stored, out = b.spatial(x), b.shape_of(node.outputs[0])
    if x.rank == 3:  # noqa: PLR2004  # 1-D is 2-D with a height of 1
        stored = b.reshaped(stored, (stored.shape[0], 1, *stored.shape[1:]))
        weights = weights[:, :, None, :]
        window = Window((1, *window.kernel), (1, *window.strides), (1, *window.dilations), ((0, 0), *window.pads))
        shape = (out[0], 1, out[2], out[1])
    else:
        shape = (out[0], out[2], out[3], out[1])
    ref = _convolution(b, stored, weights, window, shape)
    if bias is not None:
        ref = b.binary("add", ref, b.module.constant(bias))
    if x.rank == 3:  # noqa: PLR2004
        ref = b.reshaped(ref, (out[0], out[2], out[1]))
    b.set(node.outputs[0], Tensor(ref, channels_last(x.rank)))


def _convolution(b: Builder, x: Ref, weights: Array, window: Window, shape: Sequence[int]) -> Ref:
    group = x.shape[-1] // weights.shape[1]
    kernel = b.module.constant(np.ascontiguousarray(weights.transpose(2, 3, 1, 0)))  # HWIO
    pads = ", ".join(f"[{before}, {after}]" for before, after in window.pads)
    text = (
        f"stablehlo.convolution({x.name}, {kernel.name}) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], "
        f"window = {{stride = {list(window.strides)}, pad = [{pads}], rhs_dilate = {list(window.dilations)}}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = {group} : i64}} : ({x.type}, {kernel.type}) -> {{out}}"
    )
    return b.module.raw(text, shape, x.dtype)


@dataclass(frozen=True, slots=True)
class _Cut:
    """What of the whole transposed convolution is kept, along height and width; `missing` zeros come behind."""

    begins: tuple[int, ...]
    taken: tuple[int, ...]
    missing: tuple[int, ...]


def conv_transpose(b: Builder, node: Node) -> None:
    """The whole transposed convolution (no pads), then cut to size: other pads convert wrongly."""
    x, weights, bias = b.input(node), b.constant_of(node, 1), b.constant_of(node, 2)
    if weights is None or x.rank not in {3, 4}:
        raise b.refuse(node, f"its input has rank {x.rank}, and 1-D and 2-D are there")
    strides, group = tuple(node.attributes.get("strides", [1] * (x.rank - 2))), node.attributes.get("group", 1)
    kernels, stored, out = _spread(node, weights), b.spatial(x), b.shape_of(node.outputs[0])
    cut = _cut(b, node, [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernels.shape[2:], strict=True)])
    if x.rank == 3:  # noqa: PLR2004  # 1-D is 2-D with a height of 1
        stored = b.reshaped(stored, (stored.shape[0], 1, *stored.shape[1:]))
        kernels, strides = kernels[:, :, None, :], (1, *strides)
        cut = _Cut((0, *cut.begins), (1, *cut.taken), (0, *cut.missing))
    # the bias belongs into the op, unless zeros follow that it must be added to
    inside = None if any(cut.missing) else bias
    each, parts = x.shape[1] // group, []
    for number in range(group):
        part = stored if group == 1 else _channels(b, stored, number * each, each)
        kernel = kernels[number * each : (number + 1) * each].transpose(1, 2, 3, 0)  # OHWI
        added = None if inside is None else inside.reshape(group, -1)[number]
        parts.append(_whole_transpose(b, part, kernel, added, strides))
    ref = _kept(b, parts[0] if group == 1 else _joined(b, parts, weights.shape[1] * group), cut)
    if bias is not None and inside is None:
        ref = b.binary("add", ref, b.module.constant(bias))
    ref = b.reshaped(ref, [out[axis] for axis in channels_last(x.rank)])
    b.set(node.outputs[0], Tensor(ref, channels_last(x.rank)))


def _spread(node: Node, weights: Array) -> Array:
    """Return a kernel with the zeros of its dilations written out."""
    dilations = node.attributes.get("dilations", [1] * (weights.ndim - 2))
    if all(one == 1 for one in dilations):
        return weights
    sizes = [(k - 1) * d + 1 for k, d in zip(weights.shape[2:], dilations, strict=True)]
    spread = np.zeros((*weights.shape[:2], *sizes), weights.dtype)
    spread[(slice(None), slice(None), *(slice(None, None, d) for d in dilations))] = weights
    return spread


def _whole_transpose(b: Builder, x: Ref, kernel: Array, bias: Array | None, strides: tuple[int, ...]) -> Ref:
    sizes = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], strides, kernel.shape[1:3], strict=True)]
    shape = (x.shape[0], *sizes, kernel.shape[0])
    added = b.module.nothing() if bias is None else b.module.constant(bias)
    operands: list[Ref | str] = [b.module.ints(list(shape)), b.module.constant(kernel), x, added]
    attributes = f'padding = "VALID", stride_h = {strides[0]} : i32, stride_w = {strides[1]} : i32, {NO_ACTIVATION}'
    return b.module.op("transpose_conv", operands, attributes, shape, x.dtype)


def _channels(b: Builder, x: Ref, start: int, count: int) -> Ref:
    begin, size = [0, 0, 0, start], [*x.shape[:3], count]
    return b.module.op("slice", [x, b.module.ints(begin), b.module.ints(size)], "", size, x.dtype)


def _joined(b: Builder, parts: Sequence[Ref], channels: int) -> Ref:
    shape = (*parts[0].shape[:3], channels)
    return b.module.op("concatenation", parts, f"axis = 3 : i32, {NO_ACTIVATION}", shape, parts[0].dtype)


def _cut(b: Builder, node: Node, sizes: Sequence[int]) -> _Cut:
    out = b.shape_of(node.outputs[0])[2:]
    begins = _begins(b, node, sizes)
    taken = tuple(min(size - begin, wanted) for size, begin, wanted in zip(sizes, begins, out, strict=True))
    # output padding can go beyond what the kernel reaches
    return _Cut(begins, taken, tuple(wanted - got for wanted, got in zip(out, taken, strict=True)))


def _kept(b: Builder, whole: Ref, cut: _Cut) -> Ref:
    size, ref = (whole.shape[0], *cut.taken, whole.shape[3]), whole
    if size != whole.shape:
        operands = [whole, b.module.ints([0, *cut.begins, 0]), b.module.ints(list(size))]
        ref = b.module.op("slice", operands, "", size, whole.dtype)
    if not any(cut.missing):
        return ref
    pads = b.module.ints([[0, 0], [0, cut.missing[0]], [0, cut.missing[1]], [0, 0]])
    grown = (size[0], size[1] + cut.missing[0], size[2] + cut.missing[1], size[3])
    return b.module.op("pad", [ref, pads], "", grown, whole.dtype)


def _begins(b: Builder, node: Node, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the pads before each spatial axis: given, or so that the output gets the size asked for."""
    auto, rank = node.attributes.get("auto_pad", "NOTSET"), len(sizes)
    if "output_shape" not in node.attributes and auto in {"NOTSET", "VALID", ""}:
        return (0,) * rank if auto == "VALID" else tuple(node.attributes.get("pads", [0] * rank)[:rank])
    extra, out = node.attributes.get("output_padding", [0] * rank), b.shape_of(node.outputs[0])[2:]
    totals = [size + more - wanted for size, more, wanted in zip(sizes, extra, out, strict=True)]
    if min(totals) < 0:
        raise b.refuse(node, "its output_shape is larger than it reaches")
    return tuple(total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals)


CONVOLUTION = {"Conv": conv, "ConvTranspose": conv_transpose}
