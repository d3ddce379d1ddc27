"""Convolutions over one to three axes."""

from collections.abc import Sequence

from edgekit_converters.graph.windows import Window
from edgekit_converters.lowering.builder import Builder, Tensor, channels_last
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import Kernel, window_of
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.stored import padded, stepped
from edgekit_converters.lowering.transposed import conv_transpose

_RANKS = {3: "1-D", 4: "2-D", 5: "3-D"}


def conv(b: Builder, node: Node) -> None:
    """Any group, pad, stride and dilation. Case 1: 1-D is 2-D with a height of 1. Case 2: 2-D. Case 3: 3-D."""
    x, kernel = b.input(node), Kernel.of(b, node)
    if x.rank not in _RANKS:
        raise b.refuse(node, f"its input has rank {x.rank}, and {', '.join(_RANKS.values())} are there")
    window, out = window_of(b, node, kernel.shape[2:], x.shape[2:]), b.shape_of(node.outputs[0])
    stored, shape = b.spatial(x), tuple(out[axis] for axis in channels_last(x.rank))
    bias = b.input(node, 2).ref if len(node.inputs) > 2 and node.inputs[2] else None  # noqa: PLR2004
    if x.rank == 5:  # noqa: PLR2004
        ref = _volume(b, stored, kernel, window, shape)
    elif x.rank == 4:  # noqa: PLR2004
        ref = _image(b, stored, kernel, window, shape)
    else:
        line = kernel.reshaped((*kernel.shape[:2], 1, kernel.shape[2]))
        stored = b.reshaped(stored, (stored.shape[0], 1, *stored.shape[1:]))
        ref = _image(b, stored, line, window.flat(), (shape[0], 1, *shape[1:]))
    if bias is not None:
        ref = b.binary("add", ref, bias)
    b.set(node.outputs[0], Tensor(b.reshaped(ref, shape), channels_last(x.rank)))


def _image(b: Builder, x: Ref, kernel: Kernel, window: Window, shape: Sequence[int]) -> Ref:
    group = x.shape[-1] // kernel.shape[1]
    weights = kernel.stored((2, 3, 1, 0))  # HWIO
    pads = ", ".join(f"[{before}, {after}]" for before, after in window.pads)
    text = (
        f"stablehlo.convolution({x.name}, {weights.name}) dim_numbers = [b, 0, 1, f]x[0, 1, i, o]->[b, 0, 1, f], "
        f"window = {{stride = {list(window.strides)}, pad = [{pads}], rhs_dilate = {list(window.dilations)}}} "
        f"{{batch_group_count = 1 : i64, feature_group_count = {group} : i64}} : ({x.type}, {weights.type}) -> {{out}}"
    )
    return b.module.raw(text, shape, x.dtype)


def _volume(b: Builder, x: Ref, kernel: Kernel, window: Window, shape: Sequence[int]) -> Ref:
    """Write the sum of 2-D convolutions, one for each depth of the kernel, with the depths of the volume in the batch.

    CONV_3D takes 1.5 to 2 times as long (64 channels, 8 x 14 x 14, 3 x 3 x 3: 4.9 ms against 3.3), knows no
    groups, and few quantizers and delegates know it.
    """
    x = padded(b, x, [(0, 0), window.pads[0], (0, 0), (0, 0), (0, 0)])
    batch, depth, total = shape[0], shape[1], None
    for place in range(window.kernel[0]):
        planes = stepped(b, x, 1, (place * window.dilations[0], depth, window.strides[0]))
        planes = b.reshaped(planes, (batch * depth, *planes.shape[2:]))
        plane = kernel.part(2, place, 1).reshaped((*kernel.shape[:2], *kernel.shape[3:]))
        one = _image(b, planes, plane, window.behind_first(), (batch * depth, *shape[2:]))
        total = one if total is None else b.binary("add", total, one)
    if total is None:
        raise AssertionError("a kernel has at least one depth")
    return total


CONVOLUTION = {"Conv": conv, "ConvTranspose": conv_transpose}
