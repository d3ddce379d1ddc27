"""Resizing, against ONNX Runtime."""

from typing import Any

SMALL = {"x": "float[1, 3, 4, 5]"}

WIDE = {"x": "float[1, 3, 9, 12]"}


def scaled(attributes: str, *factors: float, opset: int = 13, inputs: dict[str, str] = SMALL) -> dict[str, Any]:
    """Return a Resize by factors of height and width."""
    return {
        "inputs": inputs,
        "body": f"y = Resize<{attributes}>(x, , s)",
        "weights": {"s": {"float": [1, 1, *factors]}},
        "opset": opset,
    }


def sized(attributes: str, *sizes: int) -> dict[str, Any]:
    """Return a Resize to a height and width."""
    return {
        "inputs": SMALL,
        "body": f"y = Resize<{attributes}>(x, , , s)",
        "weights": {"s": {"int64": [1, 3, *sizes]}},
    }


def of_volume(attributes: str, *factors: float) -> dict[str, Any]:
    """Return a Resize of a volume by factors of depth, height and width."""
    return scaled(attributes, *factors, inputs={"x": "float[1, 3, 4, 5, 3]"})


def cropped(*region: float, mode: str = "linear") -> dict[str, Any]:
    """Return a Resize of a region: top, left, bottom, right."""
    top, left, bottom, right = region
    attributes = f'mode = "{mode}", coordinate_transformation_mode = "tf_crop_and_resize", extrapolation_value = 9.5'
    made = sized(attributes, 5, 7)
    weights = {"r": {"float": [0, 0, top, left, 1, 1, bottom, right]}, **made["weights"]}
    return {**made, "body": f"y = Resize<{attributes}>(x, r, , s)", "weights": weights}


def kept_in_shape(policy: str, *sizes: int, mode: str = "nearest") -> dict[str, Any]:
    """Return a Resize that keeps the ratio of height to width."""
    return {
        "inputs": SMALL,
        "body": f'y = Resize<mode = "{mode}", axes = [2, 3], keep_aspect_ratio_policy = "{policy}">(x, , , s)',
        "weights": {"s": {"int64": list(sizes)}},
        "opset": 18,
    }


def by_input(attributes: str, *factors: float) -> dict[str, Any]:
    """Return a Resize by factors that are an input; the output's sizes are declared."""
    height, width = (int(size * factor) for size, factor in zip((4, 5), factors, strict=True))
    return {
        "inputs": {**SMALL, "s": "float[4]"},
        "feeds": {"s": [1, 1, *factors]},
        "outputs": {"y": f"float[1, 3, {height}, {width}]"},
        "body": f"y = Resize<{attributes}>(x, , s)",
        "opset": 18,
    }


CASES: dict[str, dict[str, Any]] = {
    "nearest by 2, asymmetric": scaled(
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', 2, 2
    ),
    "nearest by 3 and 2, half pixel": scaled('mode = "nearest"', 3, 2),
    "nearest to a size, asymmetric": sized(
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', 7, 11
    ),
    "nearest down by 2, asymmetric": sized(
        'mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor"', 2, 5
    ),
    "nearest, opset 10": {
        "inputs": SMALL,
        "body": 'y = Resize<mode = "nearest">(x, s)',
        "weights": {"s": {"float": [1, 1, 2, 2]}},
        "opset": 10,
    },
    "upsample nearest, opset 9": {
        "inputs": SMALL,
        "body": 'y = Upsample<mode = "nearest">(x, s)',
        "weights": {"s": {"float": [1, 1, 2, 3]}},
        "opset": 9,
    },
    "upsample linear, opset 9": {
        "inputs": SMALL,
        "body": 'y = Upsample<mode = "linear">(x, s)',
        "weights": {"s": {"float": [1, 1, 2, 2]}},
        "opset": 9,
    },
    "upsample nearest, opset 7": {
        "inputs": SMALL,
        "body": 'y = Upsample<mode = "nearest", scales = [1.0, 1.0, 2.0, 2.0]>(x)',
        "opset": 7,
    },
    "linear by 2, half pixel": scaled('mode = "linear"', 2, 2),
    "linear by 3 and 4, pytorch half pixel": scaled(
        'mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', 3, 4
    ),
    "linear to a size, half pixel": sized('mode = "linear"', 7, 3),
    "linear to a size, aligned corners": sized(
        'mode = "linear", coordinate_transformation_mode = "align_corners"', 9, 11
    ),
    "linear to a size, asymmetric": sized('mode = "linear", coordinate_transformation_mode = "asymmetric"', 8, 15),
    "linear, opset 11": {
        "inputs": SMALL,
        "body": 'y = Resize<mode = "linear", coordinate_transformation_mode = "align_corners">(x, r, s)',
        "weights": {"r": {"float": []}, "s": {"float": [1, 1, 2, 2]}},
        "opset": 11,
    },
    "linear, opset 18, two axes named": {
        "inputs": SMALL,
        "body": 'y = Resize<mode = "linear", axes = [2, 3]>(x, , s)',
        "weights": {"s": {"float": [2, 3]}},
        "opset": 18,
    },
    "linear, opset 18, sizes of two axes": {
        "inputs": SMALL,
        "body": 'y = Resize<mode = "linear", axes = [2, 3]>(x, , , s)',
        "weights": {"s": {"int64": [8, 7]}},
        "opset": 18,
    },
    "nearest, rounded up": scaled('mode = "nearest", nearest_mode = "ceil"', 2, 2),
    "nearest by a broken factor": scaled('mode = "nearest"', 1.5, 2),
    **{
        f"nearest, {rounding}, {coordinates}": sized(
            f'mode = "nearest", nearest_mode = "{rounding}", coordinate_transformation_mode = "{coordinates}"', 7, 3
        )
        for rounding in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")
        for coordinates in ("half_pixel", "asymmetric", "align_corners")
    },
    "nearest, symmetric": scaled(
        'mode = "nearest", coordinate_transformation_mode = "half_pixel_symmetric"', 1.7, 0.7, opset=19
    ),
    "nearest, smaller, opset 10": {
        "inputs": SMALL,
        "body": 'y = Resize<mode = "nearest">(x, s)',
        "weights": {"s": {"float": [1, 1, 0.6, 0.5]}},
        "opset": 10,
    },
    "nearest of whole numbers": {
        **scaled('mode = "nearest"', 2, 1.5),
        "inputs": {"x": "int32[1, 3, 4, 5]"},
        "outputs": {"y": "int32"},
    },
    "a factor that gives no whole size": scaled('mode = "linear"', 1.6, 1.0),
    "a factor that gives no whole size, symmetric": scaled(
        'mode = "linear", coordinate_transformation_mode = "half_pixel_symmetric"', 1.7, 0.7, opset=19
    ),
    "down to one row and column": sized('mode = "linear", coordinate_transformation_mode = "pytorch_half_pixel"', 1, 1),
    "linear, batch and channels too": {
        "inputs": {"x": "float[2, 3, 4, 5]"},
        "body": 'y = Resize<mode = "linear">(x, , s)',
        "weights": {"s": {"float": [1, 2, 0.5, 2]}},
    },
    "linear of rows": {
        "inputs": {"x": "float[4, 6]"},
        "body": 'y = Resize<mode = "linear">(x, , s)',
        "weights": {"s": {"float": [2, 1.5]}},
    },
    "linear, 1-D, after a convolution": {
        "inputs": {"x": "float[2, 4, 9]"},
        "body": 'c = Conv(x, w)\n y = Resize<mode = "linear">(c, , s)',
        "weights": {"w": [3, 4, 3], "s": {"float": [1, 1, 2.5]}},
    },
    "nearest, 1-D": {
        "inputs": {"x": "float[2, 4, 9]"},
        "body": 'y = Resize<mode = "nearest">(x, , s)',
        "weights": {"s": {"float": [1, 1, 3]}},
    },
    "linear, 3-D": {**of_volume('mode = "linear"', 2, 2, 3)},
    "nearest, 3-D": {**of_volume('mode = "nearest", coordinate_transformation_mode = "asymmetric"', 2, 1.5, 2)},
    "linear, 3-D, aligned corners, height only": {
        **of_volume('mode = "linear", coordinate_transformation_mode = "align_corners"', 1, 2, 1)
    },
    **{
        f"cubic, {name}": kind(f'mode = "cubic"{more}', *sizes)
        for name, kind, more, sizes in (
            ("half pixel", sized, "", (9, 3)),
            ("by 2", scaled, "", (2, 2)),
            ("asymmetric", sized, ', coordinate_transformation_mode = "asymmetric"', (7, 11)),
            ("aligned corners", sized, ', coordinate_transformation_mode = "align_corners"', (7, 4)),
            ("another coefficient", sized, ", cubic_coeff_a = -0.5", (8, 10)),
            ("nothing from outside", sized, ", exclude_outside = 1", (9, 4)),
        )
    },
    **{
        f"{mode}, anti-aliased{more}": scaled(f'mode = "{mode}", antialias = 1{more}', 0.6, 0.5, opset=18, inputs=WIDE)
        for mode in ("linear", "cubic")
        for more in ("", ", exclude_outside = 1")
    },
    "anti-aliased, larger": scaled('mode = "linear", antialias = 1', 2, 0.5, opset=18, inputs=WIDE),
    "a region": cropped(0.1, 0.2, 0.7, 1),
    "a region beyond the edges": cropped(-0.3, 0.2, 1.2, 0.9),
    "a region, nearest": cropped(0.1, -0.2, 0.7, 1.3, mode="nearest"),
    "not larger": kept_in_shape("not_larger", 7, 12),
    "not smaller, linear": kept_in_shape("not_smaller", 3, 6, mode="linear"),
    "by an input, linear": by_input('mode = "linear"', 2.0, 0.6),
    "by an input, cubic, nothing from outside": by_input('mode = "cubic", exclude_outside = 1', 0.8, 3),
    "by an input, nearest": by_input('mode = "nearest", nearest_mode = "ceil"', 1.3, 2.7),
    "by an input, anti-aliased": by_input('mode = "cubic", antialias = 1', 0.4, 1.5),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "aligned corners, no whole size": (
        scaled('mode = "linear", coordinate_transformation_mode = "align_corners"', 1.6, 1),
        "read in two ways",
    ),
    "aligned corners by an input": (
        by_input('mode = "linear", coordinate_transformation_mode = "align_corners"', 2, 2),
        "its factors are not constants",
    ),
    "cubic, very long": (
        {
            "inputs": {"x": "float[1, 1, 3000]"},
            "body": 'y = Resize<mode = "cubic">(x, , s)',
            "weights": {"s": {"float": [1, 1, 2]}},
        },
        "axis 2 is too long",
    ),
    "linear of whole numbers": (
        {**scaled('mode = "linear"', 2, 2), "inputs": {"x": "int32[1, 3, 4, 5]"}, "outputs": {"y": "int32"}},
        "with int32 is not there",
    ),
}
