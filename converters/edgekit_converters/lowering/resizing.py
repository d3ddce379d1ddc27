"""Resizing of images: nearest and bilinear, where TFLite takes its samples at the same places."""

from edgekit_converters.lowering.builder import Builder, Tensor, channels_last
from edgekit_converters.lowering.graph import Node

_NO_COORDINATES = 10  # opsets up to this one know one kind of coordinates: i / scale
_LINEAR = {
    "half_pixel": "align_corners = false, half_pixel_centers = true",
    "pytorch_half_pixel": "align_corners = false, half_pixel_centers = true",
    "align_corners": "align_corners = true, half_pixel_centers = false",
    "asymmetric": "align_corners = false, half_pixel_centers = false",
}


def resize(b: Builder, node: Node) -> None:
    """Nearest at the rounded-down place, and by whole factors; bilinear with the coordinates TFLite has."""
    x, out = b.input(node), b.shape_of(node.outputs[0])
    if x.rank != 4 or out[:2] != x.shape[:2]:  # noqa: PLR2004
        raise b.refuse(node, "only height and width of an image can be resized")
    if node.attributes.get("antialias", 0) and any(o < i for o, i in zip(out[2:], x.shape[2:], strict=True)):
        raise b.refuse(node, "it is anti-aliased")
    if node.attributes.get("keep_aspect_ratio_policy", "stretch") != "stretch":
        raise b.refuse(node, f"keep_aspect_ratio_policy is '{node.attributes['keep_aspect_ratio_policy']}'")
    _check_factors(b, node, x.shape, out)
    mode = node.attributes.get("mode", "nearest")
    old = b.graph.opset <= _NO_COORDINATES
    coordinates = "asymmetric" if old else node.attributes.get("coordinate_transformation_mode", "half_pixel")
    if mode == "nearest":
        _check_nearest(b, node, "floor" if old else None, coordinates, x.shape)
        op, attributes = "resize_nearest_neighbor", _LINEAR["asymmetric"]
    elif mode in {"linear", "bilinear"} and coordinates in _LINEAR:
        op, attributes = "resize_bilinear", _LINEAR[coordinates]
        if coordinates == "pytorch_half_pixel" and 1 in out[2:] and out[2:] != x.shape[2:]:
            raise b.refuse(node, "a size of 1 with 'pytorch_half_pixel' is another value in TFLite")
    else:
        raise b.refuse(node, f"mode '{mode}' with '{coordinates}' is not there")
    shape = (out[0], out[2], out[3], out[1])
    ref = b.module.op(op, [b.spatial(x), b.module.ints(list(out[2:]))], attributes, shape, x.dtype)
    b.set(node.outputs[0], Tensor(ref, channels_last(4)))


def _check_nearest(b: Builder, node: Node, rounding: str | None, coordinates: str, shape: tuple[int, ...]) -> None:
    """TFLite takes floor(i * in / out): the same as rounding half-pixel places where the factor is whole."""
    out = b.shape_of(node.outputs[0])
    rounding = rounding or node.attributes.get("nearest_mode", "round_prefer_floor")
    whole = all(o % i == 0 for o, i in zip(out[2:], shape[2:], strict=True))
    centred = coordinates in {"half_pixel", "pytorch_half_pixel"} and rounding.startswith("round_prefer")
    floored = coordinates == "asymmetric" and rounding == "floor"
    # up to opset 10 ONNX Runtime rounds up where it makes smaller
    shrinks = b.graph.opset <= _NO_COORDINATES and any(o < i for o, i in zip(out[2:], shape[2:], strict=True))
    if (floored and not shrinks) or (whole and centred):
        return
    raise b.refuse(node, f"nearest with '{coordinates}' and '{rounding}' by this factor is another value in TFLite")


def _check_factors(b: Builder, node: Node, shape: tuple[int, ...], out: tuple[int, ...]) -> None:
    """TFLite takes the factor from the sizes; a given factor that differs gives other values."""
    place = 1 if node.op == "Upsample" or b.graph.opset <= _NO_COORDINATES else 2
    given = b.constant_of(node, place)
    scales = given if given is not None else node.attributes.get("scales")
    if scales is None or len(scales) == 0:
        return
    axes = [axis % len(shape) for axis in node.attributes.get("axes", range(len(shape)))]
    for axis, scale in zip(axes, scales, strict=True):
        if abs(shape[axis] * float(scale) - out[axis]) > 1e-3 * out[axis]:
            raise b.refuse(node, f"its factor {float(scale):g} does not give a whole size")


RESIZING = {"Resize": resize, "Upsample": resize}
