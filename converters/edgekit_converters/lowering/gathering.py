"""Values picked by indices: Gather, GatherElements, GatherND."""

import math
from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.builder import Builder, Perm, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered, part
from edgekit_converters.model import Array


def indices_of(b: Builder, name: str, sizes: Sequence[int], perm: Perm | None = None) -> Ref:
    """Return indices, counted from the front: ONNX also counts from the end, and TFLite stops there.

    Args:
        b: The builder.
        name: ONNX name of the indices.
        sizes: The size that each of them counts in; several for the last axis, or one.
        perm: The order to return them in, ONNX's own when not given.
    """
    array = b.graph.constants.get(name)
    if array is not None and not (np.less(array, 0).any() and any(map(is_free, sizes))):
        front = from_front(array, sizes)
        return b.module.constant((front if perm is None else front.transpose(perm)).astype(np.int32))
    tensor = b.tensor(name)
    ref = b.order(tensor, perm or identity(tensor.rank)).ref
    if b.graph.is_never_negative(name):
        return ref
    whole = b.module.ints(sizes) if len(sizes) > 1 else b.reshaped(b.module.ints(sizes), ())
    if ref.dtype != "int32":
        whole = b.module.op("cast", [whole], "", whole.shape, ref.dtype)
    return b.binary("floor_mod", ref, whole)


def from_front(indices: Array, sizes: Sequence[int]) -> Array:
    """Return constant indices, those below 0 counted from the front."""
    whole = np.asarray(sizes if len(sizes) > 1 else sizes[0])
    return np.asarray(np.where(np.less(indices, 0), indices + whole, indices))


def gather(b: Builder, node: Node) -> None:
    """Along one axis; a single index and a list of them leave the stored order as it is."""
    name, indices = node.inputs[0], node.inputs[1]
    out, axis = b.shape_of(node.outputs[0]), node.attributes.get("axis", 0) % len(b.shape_of(name))
    rank = len(b.shape_of(indices))
    if _is_table(b, name, axis):
        b.set(node.outputs[0], Tensor(_looked_up(b, name, indices, out), identity(len(out))))
        return
    x = b.input(node)
    if rank > 1:
        x = Tensor(b.plain(x), identity(x.rank))
    found = indices_of(b, indices, [x.shape[axis]])
    perm = tuple(range(len(out))) if rank > 1 else _without(x.perm, axis) if rank == 0 else x.perm
    b.set(node.outputs[0], Tensor(gathered(b, x.ref, found, x.stored_axis(axis)), perm))


def _without(perm: Perm, axis: int) -> Perm:
    return tuple(one - (one > axis) for one in perm if one != axis)


def _is_table(b: Builder, name: str, axis: int) -> bool:
    array = b.graph.constants.get(name)
    return array is not None and axis == 0 and array.dtype == np.float32 and array.ndim == 2  # noqa: PLR2004


def _looked_up(b: Builder, table: str, indices: str, out: Sequence[int]) -> Ref:
    """Write EMBEDDING_LOOKUP: a few microseconds more than GATHER, but a table that quantizers shrink."""
    found = indices_of(b, indices, b.shape_of(table)[:1])
    if found.dtype != "int32":
        found = b.module.op("cast", [found], "", found.shape, "int32")
    count = math.prod(found.shape)
    flat = b.reshaped(found, [count])
    rows = b.module.op("embedding_lookup", [flat, b.plain(b.tensor(table))], "", [count, out[-1]], "float32")
    return b.reshaped(rows, out)


def gather_elements(b: Builder, node: Node) -> None:
    """A GATHER with all other axes as batch, the axis itself last; what lies outside the indices is cut off first."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    axis = node.attributes.get("axis", 0) % x.rank
    perm = (*(one for one in x.perm if one != axis), axis)
    found = indices_of(b, node.inputs[1], [x.shape[axis]], perm)
    x = b.order(part(b, x, {}, {one: size for one, size in enumerate(out) if one != axis}), perm)
    last = x.rank - 1
    b.set(node.outputs[0], Tensor(gathered(b, x.ref, found, last, batch_dims=last), perm))


def gather_nd(b: Builder, node: Node) -> None:
    """GATHER_ND; with batch axes the places are counted through and one GATHER is written."""
    x, out = b.plain(b.input(node)), b.shape_of(node.outputs[0])
    batch = node.attributes.get("batch_dims", 0)
    depth = b.shape_of(node.inputs[1])[-1]
    sizes = x.shape[batch : batch + depth]
    found = indices_of(b, node.inputs[1], sizes)
    if batch == 0:
        ref = b.module.op("gather_nd", [x, found], "", out, x.dtype)
    else:
        joined = b.reshaped(x, (*x.shape[:batch], math.prod(sizes), *x.shape[batch + depth :]))
        ref = gathered(b, joined, rows_of(b, found, sizes), batch, batch_dims=batch)
    b.set(node.outputs[0], Tensor(ref, identity(len(out))))


def rows_of(b: Builder, indices: Ref, sizes: Sequence[int]) -> Ref:
    """Return for index tuples (the last axis) which row of the axes joined into one they are, as int32."""
    if indices.dtype != "int32":
        indices = b.module.op("cast", [indices], "", indices.shape, "int32")
    if len(sizes) == 1:
        return b.reshaped(indices, indices.shape[:-1])
    steps = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    products = b.binary("mul", indices, b.module.ints(steps))
    last = b.module.ints([len(indices.shape) - 1])
    return b.module.op("sum", [products, last], "keep_dims = false", indices.shape[:-1], "int32")


GATHERING = {"Gather": gather, "GatherElements": gather_elements, "GatherND": gather_nd}
