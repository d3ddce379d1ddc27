"""Ops that put whole values together or repeat them: transpose, concat, expand, tile, and shapes as values."""

from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free, same
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.reshaping import reshaped
from edgekit_converters.lowering.slicing import as_int32


def transpose(b: Builder, node: Node) -> None:
    """Only the note of the order changes."""
    x = b.input(node)
    perm = list(node.attributes.get("perm", range(x.rank)[::-1]))
    b.set(node.outputs[0], Tensor(x.ref, tuple(perm.index(axis) for axis in x.perm)))


def unchanged(b: Builder, node: Node) -> None:
    """Identity, and the element of an optional that is a tensor."""
    b.set(node.outputs[0], b.input(node))


def dropout(b: Builder, node: Node) -> None:
    """Nothing is dropped when it is not training: the mask is true everywhere."""
    training = b.constant_of(node, 2)
    ratio = b.graph.constants.get(node.inputs[1]) if len(node.inputs) > 1 else None
    if training is not None and training.any() and (ratio is None or ratio != 0):
        raise b.refuse(node, "it is in training mode")
    unchanged(b, node)
    if len(node.outputs) > 1 and node.outputs[1]:
        mask = b.shape_of(node.inputs[0])
        if any(map(is_free, mask)):
            raise b.refuse(node, "its mask is used, and has a free size")
        b.set(node.outputs[1], Tensor(b.module.constant(np.ones(mask, np.bool_)), identity(len(mask))))


def concat(b: Builder, node: Node) -> None:
    """In the order most of its parts are stored in; parts without values are left out."""
    axis = node.attributes["axis"] % len(b.shape_of(node.outputs[0]))
    names = [name for name in node.inputs if is_free(b.shape_of(name)[axis]) or b.shape_of(name)[axis]]
    parts = [b.tensor(name) for name in names or node.inputs[:1]]
    if len(parts) == 1:
        b.set(node.outputs[0], parts[0])
        return
    perms = [part.perm for part, name in zip(parts, names, strict=True) if not b.is_constant(name)]
    perms = perms or [parts[0].perm]
    perm = max(dict.fromkeys(perms), key=lambda one: (perms.count(one), one != identity(len(one))))
    out = b.shape_of(node.outputs[0])
    refs = [b.order(part, perm).ref for part in parts]
    shape = [out[one] for one in perm]
    attributes = f"axis = {perm.index(axis)} : i32, {NO_ACTIVATION}"
    b.set(node.outputs[0], Tensor(b.module.op("concatenation", refs, attributes, shape, refs[0].dtype), perm))


def expand(b: Builder, node: Node) -> None:
    """TILE where the repeats are known: BROADCAST_TO took 1900 us for an image of 56x56x64, TILE 11 us."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if x.rank < len(out):
        x = reshaped(b, x, (*([1] * (len(out) - x.rank)), *x.shape))
    if all(same(size, one) or (not is_free(size) and size == 1) for size, one in zip(x.shape, out, strict=True)):
        times = [1 if same(size, one) else one for size, one in zip(x.shape, out, strict=True)]
        if b.is_known(node.inputs[1]) or not any(map(is_free, times)):
            b.set(node.outputs[0], _tiled(b, x, times))
            return
    b.set(node.outputs[0], _broadcast(b, node, b.plain(x), out))


def _tiled(b: Builder, x: Tensor, times: Sequence[int]) -> Tensor:
    """Repeat by ONNX axes."""
    if all(not is_free(one) and one == 1 for one in times):
        return x
    shape = [size * times[axis] for size, axis in zip(x.ref.shape, x.perm, strict=True)]
    operands = [x.ref, b.module.ints([times[axis] for axis in x.perm])]
    return Tensor(b.module.op("tile", operands, "", shape, x.dtype), x.perm)


def _broadcast(b: Builder, node: Node, x: Ref, out: Sequence[int]) -> Tensor:
    """Broadcast to a shape known at run time; where it says 1 the size of the input stays."""
    rank, count = len(out), b.shape_of(node.inputs[1])[0]
    wanted = as_int32(b, b.plain(b.tensor(node.inputs[1])))
    if count < rank:
        wanted = b.module.op(
            "concatenation",
            [b.module.ints([1] * (rank - count)), wanted],
            f"axis = 0 : i32, {NO_ACTIVATION}",
            [rank],
            "int32",
        )
    own = (
        b.module.ints(list(x.shape))
        if not any(map(is_free, x.shape))
        else b.module.op("shape", [x], "", [rank], "int32")
    )
    sizes = b.binary("maximum", wanted, own)
    return Tensor(b.module.op("broadcast_to", [x, sizes], "", out, x.dtype), identity(rank))


def tile(b: Builder, node: Node) -> None:
    """Repeats may be known at run time only."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if b.is_known(node.inputs[1]):
        times = b.constant_of(node, 1)
        b.set(node.outputs[0], _tiled(b, x, [] if times is None else times.tolist()))
        return
    repeats = as_int32(b, b.plain(b.input(node, 1)))
    ref = b.module.op("tile", [b.plain(x), repeats], "", out, x.dtype)
    b.set(node.outputs[0], Tensor(ref, identity(len(out))))


def reverse_sequence(b: Builder, node: Node) -> None:
    """REVERSE_SEQUENCE has both axes as attributes, and takes the lengths at run time."""
    x = b.input(node)
    sequence = x.stored_axis(node.attributes.get("time_axis", 0))
    batch = x.stored_axis(node.attributes.get("batch_axis", 1))
    attributes = f"seq_dim = {sequence} : i32, batch_dim = {batch} : i32"
    ref = b.module.op("reverse_sequence", [x.ref, b.plain(b.input(node, 1))], attributes, x.ref.shape, x.dtype)
    b.set(node.outputs[0], Tensor(ref, x.perm))


def shape(b: Builder, node: Node) -> None:
    """Shapes are constants or free sizes, but for a value whose size depends on the data."""
    x, out = b.plain(b.input(node)), b.shape_of(node.outputs[0])
    rank = len(x.shape)
    begin, end, _ = slice(node.attributes.get("start", 0), node.attributes.get("end")).indices(rank)
    sizes = b.module.op("shape", [x], "", [rank], "int32")
    if (begin, end) != (0, rank):
        sizes = b.module.op("slice", [sizes, b.module.ints([begin]), b.module.ints(list(out))], "", out, "int32")
    b.set(node.outputs[0], Tensor(b.module.op("cast", [sizes], "", out, "int64"), (0,)))


def size(b: Builder, node: Node) -> None:
    """The product of the shape, of a value whose size depends on the data."""
    x = b.plain(b.input(node))
    sizes = b.module.op("shape", [x], "", [len(x.shape)], "int32")
    product = b.module.op("reduce_prod", [sizes, b.module.ints([0])], "keep_dims = false", (), "int32")
    b.set(node.outputs[0], Tensor(b.module.op("cast", [product], "", (), "int64"), ()))


SHAPE = {
    "Transpose": transpose,
    "Identity": unchanged,
    "Dropout": dropout,
    "OptionalGetElement": unchanged,
    "Concat": concat,
    "Expand": expand,
    "Tile": tile,
    "ReverseSequence": reverse_sequence,
    "Shape": shape,
    "Size": size,
}
