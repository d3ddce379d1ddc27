"""Height and width resized by TFLite's own ops, where these take the samples that ONNX asks for."""

import math
from collections.abc import Sequence

import numpy as np

from edgekit_converters.lowering.builder import Builder, Tensor
from edgekit_converters.lowering.dims import is_free
from edgekit_converters.lowering.interpolation import Axis, Method, Numbers, coordinates, nearest
from edgekit_converters.model import Array

_HALF = "align_corners = false, half_pixel_centers = true"
_CORNERS = "align_corners = true, half_pixel_centers = false"
_PLAIN = "align_corners = false, half_pixel_centers = false"
_LINEAR = {
    "half_pixel": _HALF,
    "pytorch_half_pixel": _HALF,
    "half_pixel_symmetric": _HALF,
    "align_corners": _CORNERS,
    "asymmetric": _PLAIN,
}
_EXACT = 1e-4


def resized(b: Builder, x: Tensor, method: Method, axes: Sequence[Axis]) -> Tensor | None:
    """Return an image, line or volume stored with channels last in its new height and width, or None."""
    attributes = _attributes(method, axes) if axes and x.dtype == "float32" else None
    if attributes is None:
        return None
    sizes = {one.axis: one.after for one in axes}
    stored = x.ref.shape
    # a line has a height of 1, and the depths of a volume are in the batch
    flat = (math.prod(stored[: max(1, x.rank - 3)]), *([1] if x.rank == 3 else stored[-3:-2]), *stored[-2:])  # noqa: PLR2004
    new = [sizes.get(axis, old) for axis, old in ((x.rank - 2, flat[1]), (x.rank - 1, flat[2]))]
    new = [flat[1], new[1]] if x.rank == 3 else new  # noqa: PLR2004
    op = "resize_nearest_neighbor" if method.mode == "nearest" else "resize_bilinear"
    operands = [b.reshaped(x.ref, flat), b.module.ints(new)]
    ref = b.module.op(op, operands, attributes, (flat[0], *new, flat[3]), x.dtype)
    spatial = new[1:] if x.rank == 3 else new  # noqa: PLR2004
    return Tensor(b.reshaped(ref, (*stored[: x.rank - 1 - len(spatial)], *spatial, stored[-1])), x.perm)


def _attributes(method: Method, axes: Sequence[Axis]) -> str | None:
    """Return the attributes with which TFLite takes the same samples along every axis."""
    if not all(isinstance(one.factor, np.float32) for one in axes):
        return None
    if method.mode == "nearest":
        kinds = (_PLAIN, _HALF, _CORNERS)
        return next((one for one in kinds if all(_same_places(one, method, axis) for axis in axes)), None)
    exact = all(abs(one.factor * one.before - one.after) < _EXACT for one in axes)
    alone = method.coordinates == "pytorch_half_pixel" and any(one.after == 1 for one in axes)
    shrinks = method.antialias and any(one.after < one.before for one in axes)
    return _LINEAR.get(method.coordinates) if method.mode == "linear" and exact and not alone and not shrinks else None


def _same_places(attributes: str, method: Method, axis: Axis) -> bool:
    """Whether TFLite takes the nearest places that ONNX does; of a free size, for the rules known to be the same."""
    if is_free(axis.before) or is_free(axis.after):
        whole = axis.factor == np.floor(axis.factor)
        centred = method.coordinates in {"half_pixel", "pytorch_half_pixel"} and method.rounding.startswith("round")
        floored = method.coordinates == "asymmetric" and method.rounding in {"floor", "simple"}
        return attributes == _PLAIN and bool(whole) and (centred or floored)
    wanted = nearest(method, axis, coordinates(method, axis))
    return np.array_equal(wanted, _places(attributes, axis))


def _places(attributes: str, axis: Axis) -> Array:
    """Return the places as TFLite's kernel computes them, in float32."""
    corners, half = attributes == _CORNERS and axis.after > 1, attributes == _HALF
    scale = (
        np.float32(axis.before - 1) / np.float32(axis.after - 1) if corners else np.float32(axis.before / axis.after)
    )
    at: Numbers = (np.arange(axis.after, dtype=np.float32) + np.float32(0.5 if half else 0.0)) * scale
    found = np.floor(at + np.float32(0.5)) if attributes == _CORNERS else np.floor(at)
    return np.asarray(np.clip(found, 0, axis.before - 1))
