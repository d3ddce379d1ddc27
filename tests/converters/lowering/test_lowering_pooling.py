"""Pooling and resizing, against ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

LINE = {"x": "float[2, 4, 17]"}
SMALL = {"x": "float[1, 3, 4, 5]"}


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


CASES: dict[str, dict[str, Any]] = {
    "max": {"body": "y = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(x)"},
    "max, overlapping and padded": {
        "body": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)"
    },
    "max, padded, only values below 0": {
        "body": "y = MaxPool<kernel_shape = [3, 3], pads = [1, 1, 1, 1]>(x)",
        "range": [-9, -5],
    },
    "max, padded, after relu": {
        "body": "r = Relu(x)\n y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(r)"
    },
    "max, padded by 2": {
        "body": "y = MaxPool<kernel_shape = [5, 4], pads = [2, 1, 2, 2]>(x)",
        "range": [-9, -5],
    },
    "max, padded by more than half": {
        "body": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [2, 0, 2, 2]>(x)",
        "range": [-9, -5],
    },
    "max, ceil": {"body": "y = MaxPool<kernel_shape = [2, 2], strides = [2, 2], ceil_mode = 1>(x)"},
    "max, ceil, padded": {
        "body": "y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], ceil_mode = 1>(x)"
    },
    "max, same upper": {"body": 'y = MaxPool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">(x)'},
    "max, same lower": {"body": 'y = MaxPool<kernel_shape = [2, 2], strides = [1, 1], auto_pad = "SAME_LOWER">(x)'},
    "max, 1-D": {"inputs": LINE, "body": "y = MaxPool<kernel_shape = [3], strides = [2], pads = [1, 1]>(x)"},
    "max, rectangular": {"body": "y = MaxPool<kernel_shape = [1, 4], strides = [1, 3]>(x)"},
    "average": {"body": "y = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(x)"},
    "average, pads not counted": {
        "body": "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>(x)"
    },
    "average, pads counted": {
        "body": "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], "
        "count_include_pad = 1>(x)",
    },
    "average, ceil": {"body": "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], ceil_mode = 1>(x)"},
    "average, ceil, pads counted": {
        "body": "y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1], "
        "ceil_mode = 1, count_include_pad = 1>(x)",
    },
    "average, ceil, beyond the counted pads": {
        "body": "y = AveragePool<kernel_shape = [2, 4], strides = [3, 3], pads = [0, 1, 0, 1], "
        "ceil_mode = 1, count_include_pad = 1>(x)",
    },
    "average, same upper": {
        "body": 'y = AveragePool<kernel_shape = [3, 3], strides = [2, 2], auto_pad = "SAME_UPPER">(x)'
    },
    "average, 1-D": {"inputs": LINE, "body": "y = AveragePool<kernel_shape = [4], strides = [3]>(x)"},
    "average, 1-D, padded": {
        "inputs": LINE,
        "body": "y = AveragePool<kernel_shape = [4], strides = [3], pads = [2, 1]>(x)",
    },
    "global average": {"body": "y = GlobalAveragePool(x)"},
    "global max": {"body": "y = GlobalMaxPool(x)"},
    "global average, 1-D": {"inputs": LINE, "body": "y = GlobalAveragePool(x)"},
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
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "max, dilated": ({"body": "y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2]>(x)"}, "dilated"),
    "max with its places": (
        {"body": "y, z = MaxPool<kernel_shape = [2, 2]>(x)", "outputs": {"y": "float", "z": "int64"}},
        "indices are used",
    ),
    "cubic": (scaled('mode = "cubic"', 2, 2), "cubic"),
    "nearest, rounded up": (scaled('mode = "nearest", nearest_mode = "ceil"', 2, 2), "nearest with"),
    "nearest by a broken factor": (scaled('mode = "nearest"', 1.5, 2), "nearest with"),
    "a factor that gives no whole size": (scaled('mode = "linear"', 1.6, 1.0), "factor 1.6"),
    "channels": (
        {"inputs": SMALL, "body": "y = Resize(x, , s)", "weights": {"s": {"float": [1, 2, 1, 1]}}},
        "height and width",
    ),
    "anti-aliased": (scaled('mode = "linear", antialias = 1', 0.5, 1, opset=18), "anti-aliased"),
}
TABLE = CASES | {name: case for name, (case, _) in REFUSED.items()}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_is_what_onnx_runtime_has(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    proven(lowered(TABLE)[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", REFUSED)
def test_what_tflite_has_otherwise_is_refused(name: str, lowered: Callable[..., Mapping[str, Any]]) -> None:
    error = lowered(TABLE)[name]["error"]
    assert error.startswith(f"model '{name}': op '")
    assert REFUSED[name][1] in error
