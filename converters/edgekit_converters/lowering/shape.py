"""Ops that move values about: transpose, concat, slice, pad, gather and their kin."""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, channels_last, identity
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reshaping import reshaped
from edgekit_converters.model import Array


def transpose(b: Builder, node: Node) -> None:
    """Only the note of the order changes."""
    x = b.input(node)
    perm = list(node.attributes.get("perm", range(x.rank)[::-1]))
    b.set(node.outputs[0], Tensor(x.ref, tuple(perm.index(axis) for axis in x.perm)))


def same(b: Builder, node: Node) -> None:
    """Identity, and Dropout when not training."""
    b.set(node.outputs[0], b.input(node))


def concat(b: Builder, node: Node) -> None:
    """In the order most of its parts are stored in."""
    parts = [b.tensor(name) for name in node.inputs]
    variable = [part for part, name in zip(parts, node.inputs, strict=True) if not b.is_constant(name)]
    perms = [part.perm for part in variable]
    perm = max(dict.fromkeys(perms), key=lambda one: (perms.count(one), one != identity(len(one))))
    axis = perm.index(node.attributes["axis"] % len(perm))
    out = b.shape_of(node.outputs[0])
    refs = [b.order(part, perm).ref for part in parts]
    shape = [out[one] for one in perm]
    ref = b.module.op("concatenation", refs, f"axis = {axis} : i32, {NO_ACTIVATION}", shape, refs[0].dtype)
    b.set(node.outputs[0], Tensor(ref, perm))


def split(b: Builder, node: Node) -> None:
    """A slice for each part."""
    x = b.input(node)
    axis = node.attributes.get("axis", 0) % x.rank
    start = 0
    for name in node.outputs:
        size = b.shape_of(name)[axis]
        b.set(name, Tensor(_slice(b, x, {axis: start}, {axis: size}), x.perm))
        start += size


def _slice(b: Builder, x: Tensor, starts: dict[int, int], sizes: dict[int, int]) -> Ref:
    """Take a part given by ONNX axes."""
    begin = [starts.get(axis, 0) for axis in x.perm]
    size = [sizes.get(axis, stored) for axis, stored in zip(x.perm, x.ref.shape, strict=True)]
    if tuple(size) == x.ref.shape:
        return x.ref
    return b.module.op("slice", [x.ref, b.module.ints(begin), b.module.ints(size)], "", size, x.dtype)


def slice_(b: Builder, node: Node) -> None:
    """Constant bounds; a step below 0 turns the axis around first."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if b.graph.opset < 10:  # noqa: PLR2004
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes", range(len(starts))), [1] * len(starts)
    else:
        given = [b.constant_of(node, place) for place in range(1, 5)]
        if given[0] is None or given[1] is None:
            raise b.refuse(node, "its bounds are not given")
        starts, ends = given[0].tolist(), given[1].tolist()
        axes = given[2].tolist() if given[2] is not None else range(len(starts))
        steps = given[3].tolist() if given[3] is not None else [1] * len(starts)
    begin, end, stride = [0] * x.rank, list(x.shape), [1] * x.rank
    for start, stop, axis, step in zip(starts, ends, axes, steps, strict=True):
        one = slice(start, stop if stop > -(2**31) else None, step)
        begin[axis], end[axis], stride[axis] = one.indices(x.shape[axis])
    x = _reversed(b, x, begin, end, stride)
    if all(step == 1 for step in stride):
        ref = _slice(b, x, dict(enumerate(begin)), dict(enumerate(out)))
    else:
        masks = ", ".join(f"{name}_mask = 0 : i32" for name in ("begin", "end", "ellipsis", "new_axis", "shrink_axis"))
        operands = [x.ref, *(b.module.ints([values[axis] for axis in x.perm]) for values in (begin, end, stride))]
        ref = b.module.op(
            "strided_slice", operands, f"{masks}, offset = false", [out[axis] for axis in x.perm], x.dtype
        )
    b.set(node.outputs[0], Tensor(ref, x.perm))


def _reversed(b: Builder, x: Tensor, begin: list[int], end: list[int], stride: list[int]) -> Tensor:
    """Turn around the axes with a step below 0, and their bounds with them.

    One axis an op, because tflite-runtime 2.14 reverses only the first of several.
    """
    for axis in range(x.rank):
        if stride[axis] < 0:
            ref = b.module.op("reverse_v2", [x.ref, b.module.ints([x.perm.index(axis)])], "", x.ref.shape, x.dtype)
            x = Tensor(ref, x.perm)
            last = x.shape[axis] - 1
            begin[axis], end[axis], stride[axis] = last - begin[axis], last - end[axis], -stride[axis]
    return x


def pad(b: Builder, node: Node) -> None:
    """Constant and reflect; negative pads cut."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if b.graph.opset < 11:  # noqa: PLR2004
        flat, value = list(node.attributes["pads"]), float(node.attributes.get("value", 0.0))
        axes = list(range(x.rank))
    else:
        given, filling, chosen = (b.constant_of(node, place) for place in (1, 2, 3))
        if given is None:
            raise b.refuse(node, "its pads are not given")
        flat, value = given.tolist(), 0.0 if filling is None else float(filling.ravel()[0])
        axes = [int(a) % x.rank for a in chosen] if chosen is not None else list(range(x.rank))
    before, after = [0] * x.rank, [0] * x.rank
    for place, axis in enumerate(axes):
        before[axis], after[axis] = int(flat[place]), int(flat[place + len(axes)])
    mode = node.attributes.get("mode", "constant")
    cut = {axis: -min(0, before[axis]) for axis in range(x.rank)}
    left = {axis: x.shape[axis] + min(0, before[axis]) + min(0, after[axis]) for axis in range(x.rank)}
    x = Tensor(_slice(b, x, cut, left), x.perm)
    pads = [[max(0, before[axis]), max(0, after[axis])] for axis in x.perm]
    shape = [out[axis] for axis in x.perm]
    if not any(map(any, pads)):
        b.set(node.outputs[0], x)
        return
    operands = [x.ref, b.module.ints(pads)]
    if mode == "reflect":
        ref = b.module.op("mirror_pad", operands, "mode = #tfl<mirror_pad_attr REFLECT>", shape, x.dtype)
    elif mode != "constant":
        raise b.refuse(node, f"mode '{mode}' is not there")
    elif value == 0:
        ref = b.module.op("pad", operands, "", shape, x.dtype)
    else:
        ref = b.module.op("padv2", [*operands, b.scalar(value, x.dtype)], "", shape, x.dtype)
    b.set(node.outputs[0], Tensor(ref, x.perm))


def gather(b: Builder, node: Node) -> None:
    """Constant indices from a value along one axis."""
    indices = b.constant_of(node, 1)
    x, out = b.input(node), b.shape_of(node.outputs[0])
    axis = node.attributes.get("axis", 0) % x.rank
    if indices is None:
        raise b.refuse(node, "its indices are not given")
    wrapped = indices.astype(np.int32) % np.int32(x.shape[axis])
    if wrapped.ndim == 1:  # the axis stays where it is
        stored = x.perm.index(axis)
        shape = [len(wrapped) if place == stored else size for place, size in enumerate(x.ref.shape)]
        b.set(node.outputs[0], Tensor(_gather(b, x.ref, wrapped, stored, shape), x.perm))
        return
    b.set(node.outputs[0], Tensor(_gather(b, b.plain(x), wrapped, axis, out), identity(len(out))))


def _gather(b: Builder, ref: Ref, indices: Array, axis: int, shape: Sequence[int]) -> Ref:
    operands = [ref, b.module.constant(indices)]
    return b.module.op("gather", operands, f"axis = {axis} : i32, batch_dims = 0 : i32", shape, ref.dtype)


def expand(b: Builder, node: Node) -> None:
    """Expand and Tile with constant shapes."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if x.rank < len(out):
        x = reshaped(b, x, (*([1] * (len(out) - x.rank)), *x.shape))
    if x.shape == out:
        b.set(node.outputs[0], x)
        return
    stored = [out[axis] for axis in x.perm]
    if node.op == "Tile":
        times = b.constant_of(node, 1)
        if times is None:
            raise b.refuse(node, "its repeats are not given")
        ref = b.module.op("tile", [x.ref, b.module.ints([int(times[axis]) for axis in x.perm])], "", stored, x.dtype)
    else:
        ref = b.module.op("broadcast_to", [x.ref, b.module.ints(stored)], "", stored, x.dtype)
    b.set(node.outputs[0], Tensor(ref, x.perm))


def depth_to_space(b: Builder, node: Node) -> None:
    """DCR is TFLite's own order; for CRD the channels are put into it first."""
    x, out, block = b.input(node), b.shape_of(node.outputs[0]), node.attributes["blocksize"]
    stored = b.spatial(x)
    if node.attributes.get("mode", "DCR") == "CRD":
        order = np.arange(x.shape[1]).reshape(-1, block * block).T.ravel().astype(np.int32)
        if x.shape[1] > block * block:  # of one channel the two orders are the same
            stored = _gather(b, stored, order, 3, stored.shape)
    ref = b.module.op(
        "depth_to_space", [stored], f"block_size = {block} : i32", (out[0], out[2], out[3], out[1]), x.dtype
    )
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


def space_to_depth(b: Builder, node: Node) -> None:
    """The inverse of DCR."""
    x, out, block = b.input(node), b.shape_of(node.outputs[0]), node.attributes["blocksize"]
    shape = (out[0], out[2], out[3], out[1])
    ref = b.module.op("space_to_depth", [b.spatial(x)], f"block_size = {block} : i32", shape, x.dtype)
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


SHAPE = {
    "Transpose": transpose,
    "Identity": same,
    "Dropout": same,
    "Concat": concat,
    "Split": split,
    "Slice": slice_,
    "Pad": pad,
    "Gather": gather,
    "Expand": expand,
    "Tile": expand,
    "DepthToSpace": depth_to_space,
    "SpaceToDepth": space_to_depth,
}
