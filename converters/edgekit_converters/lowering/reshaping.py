"""Reshape and its kin on values that are not stored in ONNX's order.

A reshape that only splits or joins axes next to each other (channels into groups, rows and columns into
places) can be done in the stored order: no transpose is needed.
"""

import math
from collections.abc import Sequence

from edgekit_converters.lowering.builder import Builder, Perm, Tensor, channels_last, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.lowering.slicing import as_int32

Groups = list[tuple[list[int], list[int]]]


def reshape(b: Builder, node: Node) -> None:
    """Any op whose result has the same values in ONNX's order: Reshape, Flatten, Squeeze, Unsqueeze."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if node.op == "Reshape" and sum(map(is_free, out)) > 1 and not b.is_known(node.inputs[1]):
        b.set(node.outputs[0], _at_run_time(b, node, b.plain(x), out))
        return
    b.set(node.outputs[0], reshaped(b, x, out))


def _at_run_time(b: Builder, node: Node, x: Ref, out: tuple[int, ...]) -> Tensor:
    """Take the shape from an input; a 0 in it stands for the size that is there."""
    sizes = as_int32(b, b.plain(b.input(node, 1)))
    if not node.attributes.get("allowzero", 0):
        own = b.module.op("shape", [x], "", [len(x.shape)], "int32")
        kept = b.module.ints([min(axis, len(x.shape) - 1) for axis in range(len(out))])
        zero = b.module.op("equal", [sizes, b.module.ints([0])], "", sizes.shape, "bool")
        sizes = b.module.op("select_v2", [zero, gathered(b, own, kept, 0), sizes], "", sizes.shape, "int32")
    return Tensor(b.module.op("reshape", [x, sizes], "", out, x.dtype), identity(len(out)))


def reshaped(b: Builder, x: Tensor, out: tuple[int, ...]) -> Tensor:
    """Return the value in another ONNX shape, in an order near to the one it is stored in."""
    if 0 in out:
        return Tensor(b.reshaped(b.plain(x), out), identity(len(out)))
    groups = _groups(x.shape, out)
    stored = [axis for axis in x.perm if x.shape[axis] != 1]
    wanted, made = _orders(stored, groups)
    if wanted != stored and x.perm != channels_last(x.rank):
        # a transpose is paid for and no image is to be kept as it lies: ONNX's own order needs no second one
        wanted, made = (sorted(axes) for axes in (wanted, made))
    if wanted != stored:
        x = b.order(x, (*wanted, *(axis for axis in x.perm if x.shape[axis] == 1)))
    perm = _with_ones(made, out, spatial=x.perm != identity(x.rank))
    return Tensor(b.reshaped(x.ref, [out[axis] for axis in perm]), perm)


def _groups(shape: Sequence[int], out: Sequence[int]) -> Groups:
    """Return the smallest runs of axes with the same product on both sides; axes of size 1 are left out."""
    left = [axis for axis, size in enumerate(shape) if size != 1]
    right = [axis for axis, size in enumerate(out) if size != 1]
    groups: Groups = []
    while left:
        before, after = [left.pop(0)], [right.pop(0)]
        while (a := math.prod(shape[i] for i in before)) != (c := math.prod(out[i] for i in after)):
            if a < c:
                before.append(left.pop(0))
            else:
                after.append(right.pop(0))
        groups.append((before, after))
    return groups


def _orders(stored: Sequence[int], groups: Groups) -> tuple[list[int], list[int]]:
    """Return the order the input must have, each group together and in ONNX's order, and the output's."""
    of = {axis: group for group in groups for axis in group[0]}
    wanted: list[int] = []
    made: list[int] = []
    for axis in stored:
        if axis not in wanted:
            before, after = of[axis]
            wanted += before
            made += after
    return wanted, made


def _with_ones(order: Sequence[int], shape: Sequence[int], *, spatial: bool) -> Perm:
    """Put the axes of size 1 among the others, so that one of the usual orders comes out where it can."""
    rank = len(shape)
    usual = [identity(rank), channels_last(rank)] if rank > 2 else [identity(rank)]  # noqa: PLR2004
    for perm in reversed(usual) if spatial else usual:
        if [axis for axis in perm if shape[axis] != 1] == list(order):
            return perm
    full = list(order)
    for axis in range(rank):
        if shape[axis] == 1:
            full.insert(axis, axis)
    return tuple(full)


RESHAPING = {"Reshape": reshape, "Flatten": reshape, "Squeeze": reshape, "Unsqueeze": reshape}
