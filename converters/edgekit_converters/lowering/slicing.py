"""Parts of a value: Slice and Split.

Three ways, by what is known. Bounds and sizes that are numbers: SLICE, and a GATHER for each axis with a step
(STRIDED_SLICE takes sixteen times as long as GATHER for a step of 2, forty times for -1, measured on 56x56x64).
A free size: STRIDED_SLICE, which counts from the end and cuts bounds as ONNX does. Bounds given at run time: the
same, with operands put together first.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor, identity
from edgekit_converters.lowering.dims import is_free, same
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import part, taken

_SPLIT = frozenset({"float32", "int32"})
_INT32 = (-(2**31), 2**31 - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Window:
    """Python's `start:stop:step` on one axis."""

    axis: int
    start: int
    stop: int
    step: int

    def is_fixed(self, size: int) -> bool:
        """Whether nothing of it depends on a free size."""
        return not any(map(is_free, (self.start, self.stop, size)))


def slice_(b: Builder, node: Node) -> None:
    """Any bounds, any axes, any steps."""
    windows = _windows(b, node)
    if windows is None:
        b.set(node.outputs[0], _at_run_time(b, node))
        return
    x, out = b.input(node), b.shape_of(node.outputs[0])
    fixed = [one for one in windows if one.is_fixed(x.shape[one.axis])]
    ranges = {one.axis: range(x.shape[one.axis])[one.start : one.stop : one.step] for one in fixed}
    whole = {axis: places for axis, places in ranges.items() if places.step == 1}
    for axis, places in ranges.items():
        if places.step != 1:
            x = taken(b, x, axis, np.asarray(places, np.int32))
    x = part(b, x, {axis: one.start for axis, one in whole.items()}, {axis: len(one) for axis, one in whole.items()})
    loose = {one.axis: one for one in windows if one not in fixed}
    if loose:
        shape = [out[axis] for axis in x.perm]
        named = [loose.get(axis) for axis in x.perm]
        columns = [[getattr(one, name) if one else 1 for one in named] for name in ("start", "stop", "step")]
        x = Tensor(_strided(b, x.ref, [b.module.ints(one) for one in columns], named, shape), x.perm)
    b.set(node.outputs[0], x)


def _windows(b: Builder, node: Node) -> list[_Window] | None:
    """Return the bounds, or None where they are known at run time only."""
    rank = len(b.shape_of(node.inputs[0]))
    if b.graph.opset < 10:  # noqa: PLR2004
        starts, stops = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.attributes.get("axes"), None
    else:
        if not all(b.is_known(name) for name in node.inputs[1:] if name):
            return None
        given = [b.constant_of(node, place) for place in range(1, 5)]
        starts, stops, axes, steps = (None if one is None else one.tolist() for one in given)
        if starts is None or stops is None:
            raise b.refuse(node, "its bounds are not given")
    return [
        _Window(axis=axis % rank, start=_in_int32(start), stop=_in_int32(stop), step=_in_int32(step))
        for start, stop, axis, step in zip(
            starts, stops, axes or range(len(starts)), steps or [1] * len(starts), strict=True
        )
    ]


def _in_int32(value: int) -> int:
    return value if is_free(value) else max(_INT32[0], min(_INT32[1], value))


def _strided(b: Builder, x: Ref, bounds: Sequence[Ref], named: Sequence[object | None], shape: Sequence[int]) -> Ref:
    """Write a STRIDED_SLICE; axes without a name stay whole."""
    mask = sum(1 << place for place, one in enumerate(named) if one is None)
    masks = f"begin_mask = {mask} : i32, end_mask = {mask} : i32, ellipsis_mask = 0 : i32, new_axis_mask = 0 : i32"
    attributes = f"{masks}, shrink_axis_mask = 0 : i32, offset = false"
    return b.module.op("strided_slice", [x, *bounds], attributes, shape, x.dtype)


def _at_run_time(b: Builder, node: Node) -> Tensor:
    """Put the bounds of the axes that are given among those of the others, which are whole."""
    x, out = b.plain(b.input(node)), b.shape_of(node.outputs[0])
    rank, count = len(out), b.shape_of(node.inputs[1])[0]
    named = node.inputs[3] if len(node.inputs) > 3 else ""  # noqa: PLR2004
    places = spread(b, named, count, rank)
    bounds = []
    for place, whole in ((1, 0), (2, _INT32[1]), (4, 1)):
        name = node.inputs[place] if place < len(node.inputs) else ""
        given = as_int32(b, b.plain(b.tensor(name))) if name else b.module.ints([1] * count)
        bounds.append(chosen(b, given, places, b.module.ints([whole])))
    return Tensor(_strided(b, x, bounds, [True] * rank, out), identity(rank))


def as_int32(b: Builder, ref: Ref) -> Ref:
    """Return integers cut to the range of int32: ONNX writes "to the end" as the largest int64."""
    if ref.dtype != "int64":
        return ref
    low, high = (b.module.constant(np.asarray(one, np.int64)) for one in _INT32)
    cut = b.binary("minimum", b.binary("maximum", ref, low), high)
    return b.module.op("cast", [cut], "", ref.shape, "int32")


def spread(b: Builder, axes: str, count: int, rank: int) -> Ref:
    """Return for each of `rank` axes at which place of `count` named ones it is; `count` where it is not named.

    `axes` is the ONNX name of the axes (constant or not), or "" for the first ones in order.
    """
    if not axes or b.is_constant(axes):
        given = b.graph.constants[axes].tolist() if axes else range(count)
        found = {int(axis) % rank: place for place, axis in enumerate(given)}
        return b.module.ints([found.get(axis, count) for axis in range(rank)])
    wrapped = b.binary("floor_mod", as_int32(b, b.plain(b.tensor(axes))), b.module.ints([rank]))
    column = b.reshaped(wrapped, (count, 1))
    operands = [column, b.module.ints(range(-count, 0)), b.module.ints([rank])]
    moved = b.module.op("scatter_nd", operands, "", [rank], "int32")
    return b.binary("add", moved, b.module.ints([count]))


def chosen(b: Builder, given: Ref, places: Ref, other: Ref) -> Ref:
    """Return `given[place]` for each place, and `other` (one row) for the place behind them."""
    shape = (given.shape[0] + 1, *given.shape[1:])
    operands = [given, other]
    every = b.module.op(
        "concatenation", operands, 'axis = 0 : i32, fused_activation_function = "NONE"', shape, given.dtype
    )
    picked = (*places.shape, *given.shape[1:])
    return b.module.op("gather", [every, places], "axis = 0 : i32, batch_dims = 0 : i32", picked, given.dtype)


def split(b: Builder, node: Node) -> None:
    """SPLIT in equal parts (a tenth faster than slices, and right for a free size), else a slice for each part."""
    if not all(node.outputs):
        raise b.refuse(node, "one of its outputs has no name")
    x = b.input(node)
    axis = node.attributes.get("axis", 0) % x.rank
    sizes = _split_sizes(b, node, x.shape[axis], axis)
    if len(sizes) > 1 and all(same(size, sizes[0]) for size in sizes) and x.dtype in _SPLIT:
        shape = [sizes[0] if one == axis else size for one, size in zip(x.perm, x.ref.shape, strict=True)]
        operands = [b.module.ints(x.stored_axis(axis)), x.ref]
        parts = b.module.ops("split", operands, f"num_splits = {len(sizes)} : i32", [shape] * len(sizes), x.dtype)
        for name, ref in zip(node.outputs, parts, strict=True):
            b.set(name, Tensor(ref, x.perm))
        return
    start = 0
    for name, size in zip(node.outputs, sizes, strict=True):
        b.set(name, part(b, x, {axis: start}, {axis: size}))
        start = start + size


def _split_sizes(b: Builder, node: Node, size: int, axis: int) -> list[int]:
    """Return what each part gets: as given, else the same, and the last what is left."""
    given = node.attributes.get("split")
    name = node.inputs[1] if len(node.inputs) > 1 else ""
    if name and not b.is_known(name):
        return [b.shape_of(one)[axis] for one in node.outputs]
    if name:
        array = b.constant_of(node, 1)
        given = None if array is None else array.tolist()
    if given:
        return list(given)
    count = len(node.outputs)
    if same(size // count * count, size) or b.graph.opset < 18:  # noqa: PLR2004  # where it has to divide
        return [size // count] * count
    if is_free(size):
        raise b.refuse(node, f"{count} parts of axis {axis}, whose size is free, are not all the same")
    each = -(-size // count)
    return [each] * (count - 1) + [size - each * (count - 1)]


SLICING = {"Slice": slice_, "Split": split}
