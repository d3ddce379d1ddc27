"""Resize and Upsample in every mode, along any axes.

Case 1: height and width where TFLite takes its samples at the same places: RESIZE_NEAREST_NEIGHBOR or
RESIZE_BILINEAR. Case 2: nearest otherwise: a GATHER an axis. Case 3: linear and cubic otherwise: a product with
a matrix an axis.
"""

import math
from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering import resizing_native
from edgekit_converters.lowering.builder import Builder, Tensor, channels_last
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.expressions import Expression
from edgekit_converters.lowering.graph import Node
from edgekit_converters.lowering.interpolation import Axis, Method, Numbers, coordinates, inside, nearest, weights
from edgekit_converters.lowering.matrix import batched, dense
from edgekit_converters.lowering.module import Ref
from edgekit_converters.lowering.pieces import gathered
from edgekit_converters.lowering.reductions import reduce

_NO_COORDINATES = 10  # opsets up to this one know one kind of coordinates: i / scale
_LARGEST = 1 << 22
_EXACT = 1e-4
_IMAGES = frozenset({3, 4, 5})


def resize(b: Builder, node: Node) -> None:
    """Resize axis by axis, what TFLite has an op for at first."""
    x, method = b.input(node), _method(b, node)
    axes = _axes(b, node, x.shape)
    _check(b, node, x, method, axes)
    if x.rank in _IMAGES:
        x = Tensor(b.spatial(x), channels_last(x.rank))
        first = max(2, x.rank - 2)
        done = resizing_native.resized(b, x, method, [one for one in axes if one.axis >= first])
        if done is not None:
            x, axes = done, [one for one in axes if one.axis < first]
    for axis in axes:
        if is_free(axis.before) or is_free(axis.after):
            raise b.refuse(
                node, f"axis {axis.axis} is free, and TFLite takes other samples than '{method.coordinates}'"
            )
        x = _along(b, node, x, method, axis)
    b.set(node.outputs[0], x)


def _method(b: Builder, node: Node) -> Method:
    given, old = node.attributes, b.graph.opset <= _NO_COORDINATES
    mode = given.get("mode", "nearest")
    return Method(
        mode={"bilinear": "linear"}.get(mode, mode),
        coordinates="asymmetric" if old else given.get("coordinate_transformation_mode", "half_pixel"),
        rounding="simple" if old else given.get("nearest_mode", "round_prefer_floor"),
        cubic=given.get("cubic_coeff_a", -0.75),
        exclude_outside=bool(given.get("exclude_outside", 0)),
        antialias=bool(given.get("antialias", 0)),
        extrapolation=given.get("extrapolation_value", 0.0),
    )


def _numbers(b: Builder, node: Node, place: int) -> list[Numbers]:
    """Return what an input of a Resize holds, one number an axis; it may be known at run time only."""
    name = node.inputs[place] if place < len(node.inputs) else ""
    if not name or b.shape_of(name) == (0,):
        return []
    if b.is_known(name):
        array = b.constant_of(node, place)
        return [] if array is None else [np.float32(one) for one in array.tolist()]
    given = Expression(b, b.plain(b.tensor(name))).as_floats()
    return [given.part(0, axis).reshape() for axis in range(b.shape_of(name)[0])]


def _axes(b: Builder, node: Node, shape: Sequence[int]) -> list[Axis]:
    """Return the axes that change."""
    out, old = b.shape_of(node.outputs[0]), node.op == "Upsample" or b.graph.opset <= _NO_COORDINATES
    factors = _numbers(b, node, 1 if old else 2) or [np.float32(one) for one in node.attributes.get("scales", [])]
    named = [axis % len(shape) for axis in node.attributes.get("axes", range(len(shape)))]
    crops = node.attributes.get("coordinate_transformation_mode") == "tf_crop_and_resize"
    region = _numbers(b, node, 1) if crops else []
    region = region or [np.float32(0)] * len(named) + [np.float32(1)] * len(named)
    if not factors:
        factors = _from_sizes(b, node, [shape[axis] for axis in named], [out[axis] for axis in named])
    every = [
        Axis(axis=axis, before=shape[axis], after=out[axis], factor=factor, region=(start, end))
        for axis, factor, start, end in zip(named, factors, region, region[len(named) :], strict=False)
    ]
    return [one for one in every if not _stays(one, crops=crops)]


def _stays(axis: Axis, *, crops: bool) -> bool:
    """Whether an axis is not touched."""
    if axis.before != axis.after or is_free(axis.before) != is_free(axis.after):
        return False
    whole = all(isinstance(one, np.float32) for one in axis.region) and axis.region == (0, 1)
    known = isinstance(axis.factor, np.float32) and bool(abs(axis.factor * axis.before - axis.after) < _EXACT)
    return (not crops or whole) and (known or axis.before == 1)


def _from_sizes(b: Builder, node: Node, before: Sequence[int], after: Sequence[int]) -> list[Numbers]:
    policy = node.attributes.get("keep_aspect_ratio_policy", "stretch")
    if policy == "stretch":
        return [np.float32(new / old) for old, new in zip(before, after, strict=True)]
    ratios = [size / np.float32(old) for size, old in zip(_numbers(b, node, 3), before, strict=True)]
    factor = ratios[0]
    for one in ratios[1:]:
        factor = np.minimum(factor, one) if policy == "not_larger" else np.maximum(factor, one)
    return [factor] * len(before)


def _check(b: Builder, node: Node, x: Tensor, method: Method, axes: Sequence[Axis]) -> None:
    """Refuse what ONNX Runtime and the specification compute differently, and what is not a number to interpolate."""
    if method.mode not in {"nearest", "linear", "cubic"}:
        raise b.refuse(node, f"mode '{method.mode}' is not there")
    if method.mode != "nearest" and x.dtype != "float32":
        raise b.refuse(node, f"mode '{method.mode}' with {x.dtype} is not there")
    for one in axes:
        by_length = method.coordinates in {"align_corners", "tf_crop_and_resize"}
        if not by_length and not (method.coordinates == "pytorch_half_pixel" and one.after == 1):
            continue
        if not isinstance(one.factor, np.float32):
            raise b.refuse(node, f"its factors are not constants, with '{method.coordinates}'")
        if abs(one.factor * one.before - one.after) > _EXACT:
            said = f"its factor {one.factor:g} gives no whole size"
            raise b.refuse(node, f"{said}, and '{method.coordinates}' is read in two ways then")


def _along(b: Builder, node: Node, x: Tensor, method: Method, axis: Axis) -> Tensor:
    at = coordinates(method, axis)
    if method.mode == "nearest":
        places = nearest(method, axis, at)
        indices = places.as_integers().ref if isinstance(places, Expression) else _integers(b, places)
        ref = gathered(b, x.ref, indices, x.stored_axis(axis.axis))
    else:
        if axis.before * axis.after > _LARGEST:
            raise b.refuse(node, f"axis {axis.axis} is too long for mode '{method.mode}' with '{method.coordinates}'")
        ref = _product(b, x, axis, _matrix(b, method, axis, at))
    if method.coordinates == "tf_crop_and_resize":
        ref = _extrapolated(b, Tensor(ref, x.perm), method, axis, inside(axis, at))
    return Tensor(ref, x.perm)


def _integers(b: Builder, places: Numbers) -> Ref:
    return b.module.constant(np.asarray(places).astype(np.int32))


def _matrix(b: Builder, method: Method, axis: Axis, at: Numbers) -> Ref:
    """Return what each place counts, [after, before]; where some are left out, the others count more."""
    found, folded = weights(method, axis, at)
    scaled = method.antialias or method.exclude_outside
    if not isinstance(found, Expression):
        matrix = found @ folded
        return b.module.constant((matrix / matrix.sum(axis=1, keepdims=True) if scaled else matrix).astype(np.float32))
    folds = [folded, folded.sum(axis=1, keepdims=True)]
    matrix, sums = (
        Expression(b, batched(b, found.ref, b.module.constant(one), (axis.after, one.shape[1]))) for one in folds
    )
    return (matrix / sums).ref if scaled else matrix.ref


def _product(b: Builder, x: Tensor, axis: Axis, matrix: Ref) -> Ref:
    """Multiply along a stored axis."""
    place, shape = x.stored_axis(axis.axis), x.ref.shape
    rows, columns = math.prod(shape[:place]), math.prod(shape[place + 1 :])
    grown = (*shape[:place], axis.after, *shape[place + 1 :])
    if axis.after == 1:  # of which the compiler makes a wrong BATCH_MATMUL
        column = b.reshaped(matrix, [axis.before if one == place else 1 for one in range(len(shape))])
        ref = reduce(b, "sum", b.binary("mul", x.ref, column), [place])
    elif columns == 1:
        ref = dense(b, b.reshaped(x.ref, (rows, axis.before)), matrix)
    else:
        values = b.reshaped(x.ref, (rows, axis.before, columns))
        ref = batched(b, matrix, values, (rows, axis.after, columns))
    return b.reshaped(ref, grown)


def _extrapolated(b: Builder, x: Tensor, method: Method, axis: Axis, kept: Numbers) -> Ref:
    """Put a value where samples would lie outside."""
    if isinstance(kept, np.ndarray) and kept.all():
        return x.ref
    shape = [axis.after if one == axis.axis else 1 for one in x.perm]
    mask = kept.reshape(*shape)
    made: Expression = Expression(b, x.ref) * mask + (1.0 - mask) * np.float32(method.extrapolation)
    return made.ref


RESIZING = {"Resize": resize, "Upsample": resize}
