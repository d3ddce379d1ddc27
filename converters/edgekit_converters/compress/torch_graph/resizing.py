"""Resize and Upsample: a product with a matrix of interpolation weights along each axis that changes."""

from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
import torch

from edgekit_converters.compress.torch_graph.calls import Call, Function, Given, Tensor, axis_of
from edgekit_converters.lowering.interpolation import PLAIN_CUBIC, Axis, Method, coordinates, nearest, weights
from edgekit_converters.model import Array

_NO_COORDINATES = 10  # opsets up to this one know one kind of coordinates: i / scale


def _resize(call: Call, x: Tensor, *given: Given) -> Tensor:
    """Read `scales` alone up to opset 10; from 11 on a region, scales and sizes."""
    call.only("keep_aspect_ratio_policy", "stretch")
    old = call.opset <= _NO_COORDINATES
    call.only("coordinate_transformation_mode", "half_pixel", *_COORDINATES)
    _region, scales, sizes = (*given, None, None, None)[:3] if not old else (None, *given, None, None)[:3]
    axes = [axis_of(one, x) for one in call.get("axes", range(x.dim()))]
    factors = call.get("scales") if scales is None else scales.tolist()
    if sizes is not None and sizes.numel():
        after = [int(one) for one in sizes.tolist()]
        factors = [size / x.shape[axis] for size, axis in zip(after, axes, strict=True)]
    else:
        after = [int(np.floor(x.shape[axis] * np.float32(one))) for axis, one in zip(axes, factors, strict=True)]
    mode = call.get("mode", "nearest")
    method = Method(
        mode={"bilinear": "linear"}.get(mode, mode),
        coordinates="asymmetric" if old else call.get("coordinate_transformation_mode", "half_pixel"),
        rounding="simple" if old else call.get("nearest_mode", "round_prefer_floor"),
        cubic=call.get("cubic_coeff_a", PLAIN_CUBIC),
        exclude_outside=bool(call.get("exclude_outside", 0)),
        antialias=bool(call.get("antialias", 0)),
    )
    for axis, size, factor in zip(axes, after, factors, strict=True):
        if size != x.shape[axis] or factor != 1:
            one = Axis(axis=axis, before=x.shape[axis], after=size, factor=np.float32(factor))
            x = _along(method, one, x)
    return x


def _along(method: Method, axis: Axis, x: Tensor) -> Tensor:
    at = coordinates(method, axis)
    if method.mode == "nearest":
        return x.index_select(axis.axis, torch.from_numpy(nearest(method, axis, at).astype(np.int64)))
    matrix = torch.from_numpy(_matrix(method, axis, at)).to(x.dtype)
    return (x.transpose(axis.axis, -1) @ matrix.T).transpose(axis.axis, -1)


def _matrix(method: Method, axis: Axis, at: Array) -> Array:
    """Return what each place counts, [after, before]; where some are left out, the others count more."""
    found, folded = weights(method, axis, at)
    matrix: Array = found @ folded
    if method.antialias or method.exclude_outside:
        matrix = matrix / matrix.sum(axis=1, keepdims=True)
    return matrix


_COORDINATES = ("pytorch_half_pixel", "half_pixel_symmetric", "align_corners", "asymmetric")

RESIZING: Mapping[str, Function] = MappingProxyType({"Resize": _resize, "Upsample": _resize})
