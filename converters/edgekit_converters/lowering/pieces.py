"""Pieces of a tensor in the order it is stored in."""

from collections.abc import Mapping

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.dims import is_free, same
from edgekit_converters.lowering.module import Ref
from edgekit_converters.model import Array


def part(b: Builder, x: Tensor, starts: Mapping[int, int], sizes: Mapping[int, int]) -> Tensor:
    """Return a part given by ONNX axes; axes that are not named stay whole."""
    begin = [starts.get(axis, 0) for axis in x.perm]
    size = [sizes.get(axis, whole) for axis, whole in zip(x.perm, x.ref.shape, strict=True)]
    if all(map(same, size, x.ref.shape)):
        return x
    # up to the end needs no size at run time
    wanted = [
        -1 if is_free(one) and same(first + one, whole) else one
        for first, one, whole in zip(begin, size, x.ref.shape, strict=True)
    ]
    ref = b.module.op("slice", [x.ref, b.module.ints(begin), b.module.ints(wanted)], "", size, x.dtype)
    return Tensor(ref, x.perm)


def gathered(b: Builder, x: Ref, indices: Ref, axis: int, *, batch_dims: int = 0) -> Ref:
    """Write a GATHER along a stored axis."""
    attributes = f"axis = {axis} : i32, batch_dims = {batch_dims} : i32"
    shape = (*x.shape[:axis], *indices.shape[batch_dims:], *x.shape[axis + 1 :])
    return b.module.op("gather", [x, indices], attributes, shape, x.dtype)


def taken(b: Builder, x: Tensor, axis: int, places: Array) -> Tensor:
    """Return these places (1-D) of an ONNX axis; the stored order stays."""
    return Tensor(gathered(b, x.ref, b.module.constant(places.astype(np.int32)), x.stored_axis(axis)), x.perm)
