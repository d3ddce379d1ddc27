"""Convolutions, plain and transposed, 1-D and 2-D."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.onnx_graph import Node
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
    group = node.attributes.get("group", 1)
    stored, out = b.spatial(x), b.shape_of(node.outputs[0])
    if x.rank == 3:  # noqa: PLR2004  # 1-D is 2-D with a height of 1
        stored = b.reshaped(stored, (stored.shape[0], 1, *stored.shape[1:]))
        weights = weights[:, :, None, :]
        window = Window((1, *window.kernel), (1, *window.strides), (1, *window.dilations), ((0, 0), *window.pads))
        shape = (out[0], 1, out[2], out[1])
    else:
        shape = (out[0], out[2], out[3], out[1])
    ref = _convolution(b, stored, weights, window, group, shape)
    if bias is not None:
        ref = b.binary("add", ref, b.module.constant(bias))
    if x.rank == 3:  # noqa: PLR2004
        ref = b.reshaped(ref, (out[0], out[2], out[1]))
    b.set(node.outputs[0], Tensor(ref, channels_last(x.rank)))


def _convolution(b: Builder, x: Ref, weights: Array, window: Window, group: int, shape: Sequence[int]) -> Ref:
    kernel = b.module.constant(np.ascontiguousarray(weights.transpose(2, 3, 1, 0)))  # HWIO
    pads = ", ".join(f"[{before}, {after}]" for before, after in window.pads)
    text = (
        f"stablehlo.convolution({x.name}, {kernel.name}) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], "
        f"window = {{stride = {list(window.strides)}, pad = [{pads}], rhs_dilate = {list(window.dilations)}}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = {group} : i64}} : ({x.type}, {kernel.type}) -> {{out}}"
    )
    return b.module.raw(text, shape, x.dtype)


def conv_transpose(b: Builder, node: Node) -> None:
    """The whole transposed convolution (no pads), then cut to size: other pads convert wrongly."""
    x, weights, bias = b.input(node), b.constant_of(node, 1), b.constant_of(node, 2)
    if weights is None or x.rank != 4:  # noqa: PLR2004
        raise b.refuse(node, "only 2-D with constant weights is there")
    if any(d != 1 for d in node.attributes.get("dilations", [1, 1])):
        raise b.refuse(node, "it is dilated")
    out, group = b.shape_of(node.outputs[0]), node.attributes.get("group", 1)
    strides = tuple(node.attributes.get("strides", [1, 1]))
    stored = b.spatial(x)
    inputs, per_group = x.shape[1] // group, weights.shape[1]
    parts = []
    for number in range(group):
        part = stored if group == 1 else _channels(b, stored, number * inputs, inputs)
        kernel = weights[number * inputs : (number + 1) * inputs].transpose(1, 2, 3, 0)  # OHWI
        parts.append(_whole_transpose(b, part, kernel, strides))
    whole = parts[0] if group == 1 else _joined(b, parts, per_group * group)
    ref = _cut(b, node, whole, out, strides, weights.shape[2:], x.shape[2:])
    if bias is not None:
        ref = b.binary("add", ref, b.module.constant(bias))
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


def _whole_transpose(b: Builder, x: Ref, kernel: Array, strides: tuple[int, ...]) -> Ref:
    sizes = [(n - 1) * s + k for n, s, k in zip(x.shape[1:3], strides, kernel.shape[1:3], strict=True)]
    shape = (x.shape[0], *sizes, kernel.shape[0])
    operands = [b.module.ints(list(shape)), b.module.constant(kernel), x, b.module.nothing()]
    attributes = f'padding = "VALID", stride_h = {strides[0]} : i32, stride_w = {strides[1]} : i32, {NO_ACTIVATION}'
    return b.module.op("transpose_conv", operands, attributes, shape, x.dtype)


def _channels(b: Builder, x: Ref, start: int, count: int) -> Ref:
    begin, size = [0, 0, 0, start], [*x.shape[:3], count]
    return b.module.op("slice", [x, b.module.ints(begin), b.module.ints(size)], "", size, x.dtype)


def _joined(b: Builder, parts: Sequence[Ref], channels: int) -> Ref:
    shape = (*parts[0].shape[:3], channels)
    return b.module.op("concatenation", parts, f"axis = 3 : i32, {NO_ACTIVATION}", shape, parts[0].dtype)


def _cut(  # noqa: PLR0913  # what a cut is made of
    b: Builder,
    node: Node,
    whole: Ref,
    out: Sequence[int],
    strides: Sequence[int],
    kernel: Sequence[int],
    spatial: Sequence[int],
) -> Ref:
    begins = [before for before, _ in _transposed_pads(b, node, out, strides, kernel, spatial)]
    taken = [min(size - begin, wanted) for size, begin, wanted in zip(whole.shape[1:3], begins, out[2:], strict=True)]
    size = (whole.shape[0], *taken, whole.shape[3])
    ref = whole
    if size != whole.shape:
        operands = [whole, b.module.ints([0, *begins, 0]), b.module.ints(list(size))]
        ref = b.module.op("slice", operands, "", size, whole.dtype)
    missing = [wanted - got for wanted, got in zip(out[2:], taken, strict=True)]
    if any(missing):  # output padding beyond what the kernel reaches
        pads = b.module.ints([[0, 0], [0, missing[0]], [0, missing[1]], [0, 0]])
        ref = b.module.op("pad", [ref, pads], "", (size[0], *out[2:], size[3]), whole.dtype)
    return ref


def _transposed_pads(  # noqa: PLR0913  # what pads are made of
    b: Builder,
    node: Node,
    out: Sequence[int],
    strides: Sequence[int],
    kernel: Sequence[int],
    spatial: Sequence[int],
) -> list[tuple[int, int]]:
    auto = node.attributes.get("auto_pad", "NOTSET")
    if "output_shape" not in node.attributes and auto in {"NOTSET", "VALID", ""}:
        flat = [0] * 4 if auto == "VALID" else list(node.attributes.get("pads", [0] * 4))
        return [(flat[0], flat[2]), (flat[1], flat[3])]
    extra = node.attributes.get("output_padding", [0, 0])
    pads = []
    for axis in range(2):
        total = strides[axis] * (spatial[axis] - 1) + extra[axis] + kernel[axis] - out[2 + axis]
        if total < 0:
            raise b.refuse(node, "its output_shape is larger than it reaches")
        less, more = total // 2, total - total // 2
        pads.append((less, more) if auto == "SAME_UPPER" else (more, less))
    return pads


CONVOLUTION = {"Conv": conv, "ConvTranspose": conv_transpose}
