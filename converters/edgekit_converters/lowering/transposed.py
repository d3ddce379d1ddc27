"""Transposed convolutions over one to three axes."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit_converters.lowering import pieces
from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last, identity
from edgekit_converters.lowering.dims import in_every_run
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.kernels import Kernel
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.stored import joined, padded, part, positive

_RANKS = {3: "1-D", 4: "2-D", 5: "3-D"}
_OHWI = (1, 2, 3, 0)
_DHWOI = (2, 3, 4, 1, 0)


@dataclass(frozen=True, slots=True)
class _Cut:
    """What of the whole transposed convolution is kept, along its axes; `missing` zeros come behind."""

    begins: tuple[int, ...]
    taken: tuple[int, ...]
    missing: tuple[int, ...]


def conv_transpose(b: Builder, node: Node) -> None:
    """The whole transposed convolution (no pads), then cut to size: other pads convert wrongly."""
    x, weights = b.input(node), Kernel.of(b, node)
    if x.rank not in _RANKS:
        raise b.refuse(node, f"its input has rank {x.rank}, and {', '.join(_RANKS.values())} are there")
    strides = tuple(node.attributes.get("strides", [1] * (x.rank - 2)))
    kernel = weights.spread(node.attributes.get("dilations", [1] * (x.rank - 2)))
    stored, out = b.spatial(x), b.shape_of(node.outputs[0])
    cut = _cut(b, node, [(n - 1) * s + k for n, s, k in zip(x.shape[2:], strides, kernel.shape[2:], strict=True)])
    if x.rank == 3:  # noqa: PLR2004  # 1-D is 2-D with a height of 1
        stored = b.reshaped(stored, (stored.shape[0], 1, *stored.shape[1:]))
        kernel, strides = kernel.reshaped((*kernel.shape[:2], 1, *kernel.shape[2:])), (1, *strides)
        cut = _Cut((0, *cut.begins), (1, *cut.taken), (0, *cut.missing))
    bias = b.input(node, 2).ref if len(node.inputs) > 2 and node.inputs[2] else None  # noqa: PLR2004
    # the bias belongs into the op, unless zeros follow that it must be added to; the compiler compares that of
    # a 3-D op with the wrong axis of the weights
    inside = None if any(cut.missing) or x.rank == 5 else bias  # noqa: PLR2004
    ref = _kept(b, _grouped(b, stored, kernel, inside, (node.attributes.get("group", 1), strides)), cut)
    if bias is not None and inside is None:
        ref = b.binary("add", ref, bias)
    ref = b.reshaped(ref, [out[axis] for axis in channels_last(x.rank)])
    b.set(node.outputs[0], Tensor(ref, channels_last(x.rank)))


def _grouped(b: Builder, x: Ref, kernel: Kernel, bias: Ref | None, window: tuple[int, tuple[int, ...]]) -> Ref:
    """Write one op a group: TFLite's knows none."""
    group, strides = window
    last, each, made = len(x.shape) - 1, kernel.shape[0] // group, kernel.shape[1]
    parts = []
    for number in range(group):
        added = None if bias is None else part(b, bias, 0, number * made, made)
        inputs = part(b, x, last, number * each, each)
        parts.append(_whole(b, inputs, kernel.part(0, number * each, each), added, strides))
    return joined(b, parts, last)


def _whole(b: Builder, x: Ref, kernel: Kernel, bias: Ref | None, strides: tuple[int, ...]) -> Ref:
    sizes = [(n - 1) * s + k for n, s, k in zip(x.shape[1:-1], strides, kernel.shape[2:], strict=True)]
    shape, volume = (x.shape[0], *sizes, kernel.shape[1]), len(sizes) == 3  # noqa: PLR2004
    attributes = [NO_ACTIVATION, 'padding = "VALID"']
    attributes += [f"stride_{axis} = {step} : i32" for axis, step in zip("dhw"[-len(sizes) :], strides, strict=True)]
    if volume:
        attributes += [f"dilation_{axis}_factor = 1 : i32" for axis in "dhw"]
    weights = kernel.stored(_DHWOI if volume else _OHWI)
    added = b.module.nothing() if bias is None else bias
    op = "conv_3d_transpose" if volume else "transpose_conv"
    return b.module.op(op, [b.module.ints(list(shape)), weights, x, added], ", ".join(attributes), shape, x.dtype)


def _cut(b: Builder, node: Node, sizes: Sequence[int]) -> _Cut:
    out = b.shape_of(node.outputs[0])[2:]
    begins = _begins(b, node, sizes)
    taken = tuple(
        in_every_run(min, size - begin, wanted) for size, begin, wanted in zip(sizes, begins, out, strict=True)
    )
    # output padding can go beyond what the kernel reaches
    return _Cut(begins, taken, tuple(wanted - got for wanted, got in zip(out, taken, strict=True)))


def _kept(b: Builder, whole: Ref, cut: _Cut) -> Ref:
    begins, taken = dict(enumerate(cut.begins, start=1)), dict(enumerate(cut.taken, start=1))
    kept = pieces.part(b, Tensor(whole, identity(len(whole.shape))), begins, taken)
    return padded(b, kept.ref, [(0, 0), *((0, more) for more in cut.missing), (0, 0)])


def _begins(b: Builder, node: Node, sizes: Sequence[int]) -> tuple[int, ...]:
    """Return the pads before each spatial axis: given, or so that the output gets the size asked for."""
    auto, rank = node.attributes.get("auto_pad", "NOTSET"), len(sizes)
    if "output_shape" not in node.attributes and auto in {"NOTSET", "VALID", ""}:
        return (0,) * rank if auto == "VALID" else tuple(node.attributes.get("pads", [0] * rank)[:rank])
    extra, out = node.attributes.get("output_padding", [0] * rank), b.shape_of(node.outputs[0])[2:]
    totals = [
        in_every_run(positive, size + more - wanted) for size, more, wanted in zip(sizes, extra, out, strict=True)
    ]
    return tuple(total // 2 if auto == "SAME_UPPER" else total - total // 2 for total in totals)
