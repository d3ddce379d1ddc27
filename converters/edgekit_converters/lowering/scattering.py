"""Values put at indices: Scatter, ScatterElements, ScatterND, TensorScatter.

All of them come down to rows of a matrix. TFLite's own scatter starts from zeros and adds up what falls on one
place, so:

- reduction add: SCATTER_ND and ADD.
- no reduction, constant indices: the updates go behind the data, and one GATHER picks the row for each place.
- no reduction, indices at run time: two SCATTER_ND, of the values and of ones, and SELECT_V2. What happens where
  two indices are the same ONNX leaves open.
- mul, max, min: every update against every row, and a reduction over the updates (bounded by `_MOST_CELLS`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import NO_ACTIVATION, Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.gathering import from_front, indices_of, rows_of
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.model import Array

_MOST_CELLS = 1 << 22
# How each reduction is written: over the updates, with the data, and what changes nothing.
_REDUCTIONS = {
    "mul": ("reduce_prod", "mul", 1.0),
    "max": ("reduce_max", "maximum", -np.inf),
    "min": ("reduce_min", "minimum", np.inf),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Rows:
    """Update i of `updates` [updates, cells] goes to row `places[i]` of `data` [rows, cells]."""

    data: Ref
    updates: Ref
    places: Ref | Array


def scatter_nd(b: Builder, node: Node) -> None:
    """The last axis of the indices names the first axes of the data."""
    shape = b.shape_of(node.inputs[0])
    depth = b.shape_of(node.inputs[1])[-1]
    count, cells = math.prod(b.shape_of(node.inputs[1])[:-1]), math.prod(shape[depth:])
    if b.is_constant(node.inputs[1]) and not any(map(is_free, shape[:depth])):
        places: Ref | Array = _counted(b.graph.constants[node.inputs[1]].reshape(-1, depth), shape[:depth])
    else:
        found = indices_of(b, node.inputs[1], shape[:depth])
        places = b.reshaped(rows_of(b, found, shape[:depth]), (count,))
    _set(b, node, _rows(b, node, places, (math.prod(shape[:depth]), count, cells)))


def _counted(indices: Array, sizes: Sequence[int]) -> Array:
    """Return which row of the joined axes each index tuple names."""
    steps = [math.prod(sizes[place + 1 :]) for place in range(len(sizes))]
    return np.asarray((from_front(indices, sizes) * np.asarray(steps)).sum(axis=-1))


def _rows(b: Builder, node: Node, places: Ref | Array, shape: tuple[int, int, int]) -> _Rows:
    """Reshape data and updates; `shape` is the number of rows, of updates and of cells in each."""
    rows, updates, cells = shape
    return _Rows(
        data=b.reshaped(b.plain(b.input(node)), (rows, cells)),
        updates=b.reshaped(b.plain(b.input(node, 1 if node.op == "TensorScatter" else 2)), (updates, cells)),
        places=places,
    )


def scatter_elements(b: Builder, node: Node) -> None:
    """Each index replaces one coordinate of its own place: rows of a single cell."""
    shape, spread = b.shape_of(node.inputs[0]), b.shape_of(node.inputs[1])
    axis = node.attributes.get("axis", 0) % len(shape)
    others = [one for one in range(len(shape)) if one != axis]
    if any(is_free(size) for size in (*shape, *spread)):
        raise b.refuse(node, "one of its sizes is free")
    steps = [math.prod(shape[one + 1 :]) for one in range(len(shape))]
    around = np.zeros((), np.int32)
    for one in others:
        column = np.arange(spread[one], dtype=np.int32) * np.int32(steps[one])
        around = around + column.reshape([-1 if one == place else 1 for place in range(len(shape))])
    name = node.inputs[1]
    if b.is_constant(name):
        given = from_front(b.graph.constants[name], [shape[axis]])
        places: Ref | Array = (given * steps[axis] + around).ravel()
    else:
        found = indices_of(b, name, [shape[axis]])
        if found.dtype != "int32":
            found = b.module.op("cast", [found], "", found.shape, "int32")
        far = b.binary("mul", found, b.scalar(steps[axis], "int32"))
        places = b.reshaped(b.binary("add", far, b.module.constant(around)), (math.prod(spread),))
    _set(b, node, _rows(b, node, places, (math.prod(shape), math.prod(spread), 1)))


def tensor_scatter(b: Builder, node: Node) -> None:
    """A cache of [batch, .., length, ..] with new entries from an index of each sample on (round and round, or not)."""
    shape, update = b.shape_of(node.inputs[0]), b.shape_of(node.inputs[1])
    axis = node.attributes.get("axis", -2) % len(shape)
    if any(map(is_free, shape)):
        raise b.refuse(node, "one of its sizes is free")
    length, new = shape[axis], update[axis]
    first = np.arange(math.prod(shape[:axis]), dtype=np.int32).reshape((*shape[:axis], 1)) * np.int32(length)
    steps = np.arange(new, dtype=np.int32)
    starts = (shape[0], *([1] * axis))
    if len(node.inputs) > 2 and node.inputs[2]:  # noqa: PLR2004
        index = b.plain(b.tensor(node.inputs[2]))
        index = b.reshaped(b.module.op("cast", [index], "", index.shape, "int32"), starts)
        at = b.binary("add", index, b.module.constant(steps))
        if node.attributes.get("mode", "linear") == "circular":
            at = b.binary("floor_mod", at, b.scalar(length, "int32"))
        places: Ref | Array = b.reshaped(b.binary("add", b.module.constant(first), at), (first.size * new,))
    else:
        places = (first + steps).ravel()
    _set(b, node, _rows(b, node, places, (first.size * length, first.size * new, math.prod(shape[axis + 1 :]))))


def _set(b: Builder, node: Node, rows: _Rows) -> None:
    """Write the scatter and name its result."""
    reduction = node.attributes.get("reduction", "none")
    out = b.shape_of(node.outputs[0])
    if 0 in rows.updates.shape or 0 in rows.data.shape:
        ref = rows.data
    elif reduction == "none":
        ref = _replaced(b, rows)
    elif reduction == "add":
        ref = b.binary("add", rows.data, _scattered(b, rows, rows.updates))
    elif reduction in _REDUCTIONS:
        ref = _reduced(b, node, rows, reduction)
    else:
        raise b.refuse(node, f"reduction '{reduction}' is not there")
    b.set(node.outputs[0], Tensor(b.reshaped(ref, out), identity(len(out))))


def _replaced(b: Builder, rows: _Rows) -> Ref:
    if isinstance(rows.places, Ref):
        ones = b.module.constant(np.ones((rows.updates.shape[0], 1), np.float32))
        hit = _scattered(b, rows, ones)
        touched = b.module.op("greater", [hit, b.scalar(0.0)], "", hit.shape, "bool")
        operands = [touched, _scattered(b, rows, rows.updates), rows.data]
        return b.module.op("select_v2", operands, "", rows.data.shape, rows.data.dtype)
    count, cells = rows.data.shape
    source = np.arange(count, dtype=np.int32)
    source[rows.places] = count + np.arange(len(rows.places), dtype=np.int32)
    operands = [rows.data, rows.updates]
    shape = (count + len(rows.places), cells)
    both = b.module.op("concatenation", operands, f"axis = 0 : i32, {NO_ACTIVATION}", shape, rows.data.dtype)
    return gathered(b, both, b.module.constant(source), 0)


def _scattered(b: Builder, rows: _Rows, values: Ref) -> Ref:
    """Write values into zeros; those of the same place are added up."""
    shape = (rows.data.shape[0], values.shape[1])
    indices = b.reshaped(_placed(b, rows), (values.shape[0], 1))
    return b.module.op("scatter_nd", [indices, values, b.module.ints(shape)], "", shape, values.dtype)


def _placed(b: Builder, rows: _Rows) -> Ref:
    return rows.places if isinstance(rows.places, Ref) else b.module.constant(rows.places.astype(np.int32))


def _reduced(b: Builder, node: Node, rows: _Rows, reduction: str) -> Ref:
    over, with_data, nothing = _REDUCTIONS[reduction]
    (count, cells), updates = rows.data.shape, rows.updates.shape[0]
    if any(map(is_free, (count, cells, updates))) or count * cells * updates > _MOST_CELLS:
        raise b.refuse(node, f"reduction '{reduction}' of {updates} updates on {count} rows of {cells}")
    dtype = rows.data.dtype
    if np.dtype(dtype).kind == "i" and not np.isfinite(nothing):
        nothing = np.iinfo(dtype).max if nothing > 0 else np.iinfo(dtype).min
    column = b.reshaped(_placed(b, rows), (updates, 1, 1))
    every = b.module.constant(np.arange(count, dtype=np.int32).reshape(1, count, 1))
    hits = b.module.op("equal", [column, every], "", (updates, count, 1), "bool")
    values = b.reshaped(rows.updates, (updates, 1, cells))
    operands = [hits, values, b.module.constant(np.asarray(nothing, dtype))]
    spread = b.module.op("select_v2", operands, "", (updates, count, cells), dtype)
    found = b.module.op(over, [spread, b.module.ints([0])], "keep_dims = false", (count, cells), dtype)
    return b.binary(with_data, rows.data, found)


SCATTERING = {
    "Scatter": scatter_elements,
    "ScatterElements": scatter_elements,
    "ScatterND": scatter_nd,
    "TensorScatter": tensor_scatter,
}
