"""Where ONNX's Resize takes its samples along one axis, and with what weights.

The formulas are NumPy's; a factor or region that is known at run time only is an `Expression` in them, and
what comes out is one too.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

# An array or an `Expression`: formulas do not care.
Numbers = Any
PLAIN_CUBIC = -0.75


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """How a Resize samples: its attributes, the same for all axes."""

    mode: str
    coordinates: str
    rounding: str
    cubic: float = PLAIN_CUBIC
    exclude_outside: bool = False
    antialias: bool = False
    extrapolation: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """One axis that is resized: ONNX number, sizes, factor, and the region for `tf_crop_and_resize`."""

    axis: int
    before: int
    after: int
    factor: Numbers
    region: tuple[Numbers, Numbers] = (0.0, 1.0)


def coordinates(method: Method, axis: Axis) -> Numbers:
    """Return where each place of the result lies in the input: float32 [after], as ONNX Runtime computes it."""
    places = np.arange(axis.after, dtype=np.float32)
    last = np.float32(axis.before - 1)
    match method.coordinates:
        case "asymmetric":
            at = places / axis.factor
        case "align_corners":
            at = places * last / np.float32(max(1, axis.after - 1))
        case "pytorch_half_pixel" if axis.after == 1:
            at = places + axis.factor * 0
        case "half_pixel" | "pytorch_half_pixel":
            at = (places + 0.5) / axis.factor - 0.5
        case "half_pixel_symmetric":
            adjustment = axis.after / (axis.factor * axis.before)
            at = axis.before / 2 * (1 - adjustment) + (places + 0.5) / axis.factor - 0.5
        case "tf_crop_and_resize":
            start, end = axis.region
            if axis.after == 1:
                at = places + 0.5 * (start + end) * last
            else:
                at = start * last + places * (end - start) * last / np.float32(axis.after - 1)
        case other:
            raise ValueError(f"coordinate_transformation_mode '{other}' is not there")
    return at


def nearest(method: Method, axis: Axis, at: Numbers) -> Numbers:
    """Return the place of the input nearest to each coordinate, as whole float32 numbers."""
    if isinstance(at, np.ndarray):
        at = at.astype(np.float64)  # so that adding a half is exact
    match method.rounding:
        case "simple":  # ONNX Runtime's up to opset 10
            found = np.ceil(at) if axis.after < axis.before else np.floor(at)
        case "floor":
            found = np.floor(at)
        case "ceil":
            found = np.ceil(at)
        case "round_prefer_ceil":
            found = np.floor(at + 0.5)
        case "round_prefer_floor":
            found = np.ceil(at - 0.5)
        case other:
            raise ValueError(f"nearest_mode '{other}' is not there")
    return np.minimum(np.maximum(found, 0.0), np.float32(axis.before - 1))


def weights(method: Method, axis: Axis, at: Numbers) -> tuple[Numbers, Numbers]:
    """Return what each place of the input counts for each of the result, and how it is spread over the edges.

    The first is [after, before + 2 * margin], with places beyond the edges. The second is a constant matrix
    [before + 2 * margin, before] that adds those to the edges, or leaves them out.
    """
    shrink = np.minimum(axis.factor, np.float32(1.0)) if method.antialias else 1.0
    cubic = method.mode == "cubic"
    reach = (2 if cubic else 1) * (max(1.0, axis.before / axis.after) if method.antialias else 1)
    margin = int(np.ceil(reach)) + 1
    places = np.arange(-margin, axis.before + margin, dtype=np.float32)
    away = np.absolute((at.reshape(axis.after, 1) - places) * shrink)
    found = keys(away, np.float32(method.cubic)) if cubic else np.maximum(1.0 - away, 0.0)
    edges = np.clip(places.astype(np.int64), 0, axis.before - 1)
    folded = np.zeros((len(places), axis.before), np.float32)
    folded[np.arange(len(places)), edges] = 1.0
    if method.exclude_outside:
        folded[(places < 0) | (places >= axis.before)] = 0.0
    return found, folded


def keys(away: Numbers, a: np.float32) -> Numbers:
    """Keys' kernel in Horner's form: one polynomial up to 1, another up to 2, nothing behind.

    Source: R. Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    near = ((a + 2) * away - (a + 3)) * away * away + 1.0
    far = ((a * away - 5 * a) * away + 8 * a) * away - 4 * a
    within = np.less_equal(away, 1.0) * 1.0
    between = np.less(away, 2.0) * (1.0 - within)
    return near * within + far * between


def inside(axis: Axis, at: Numbers) -> Numbers:
    """Return 1 for coordinates within the input, else 0."""
    return np.greater_equal(at, 0.0) * 1.0 * np.less_equal(at, np.float32(axis.before - 1))
