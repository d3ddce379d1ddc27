"""Pooling over one to three axes, against ONNX Runtime."""

from typing import Any

LINE = {"x": "float[2, 4, 17]"}
VOLUME = {"x": "float[2, 4, 5, 6, 4]"}


def columns(attributes: str, shape: list[int], sizes: list[int], block: list[int]) -> dict[str, Any]:
    """Return a Col2Im into an image of these sizes."""
    return {
        "inputs": {"x": f"float{shape}"},
        "body": f"y = Col2Im<{attributes}>(x, s, k)",
        "weights": {"s": {"int64": sizes}, "k": {"int64": block}},
        "opset": 18,
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
    "max, dilated, padded, strided": {
        "body": "y = MaxPool<kernel_shape = [2, 3], dilations = [3, 2], strides = [2, 1], pads = [1, 0, 0, 2]>(x)",
        "range": [-9, -5],
    },
    "max, dilated, ceil, after a convolution": {
        "body": "c = Conv(x, w)\n y = MaxPool<kernel_shape = [2, 2], dilations = [2, 2], strides = [2, 2], "
        "ceil_mode = 1>(c)",
        "weights": {"w": [3, 4, 1, 1]},
    },
    "max, 3-D": {
        "inputs": VOLUME,
        "body": "y = MaxPool<kernel_shape = [3, 2, 2], strides = [2, 1, 2], pads = [1, 0, 1, 1, 1, 0]>(x)",
        "range": [-9, -5],
    },
    "max, 3-D, ceil, dilated": {
        "inputs": VOLUME,
        "body": "y = MaxPool<kernel_shape = [2, 2, 2], strides = [2, 2, 1], dilations = [1, 2, 3], ceil_mode = 1>(x)",
    },
    "max, 3-D, free batch": {
        "inputs": {"x": "float[N, 4, 5, 6, 4]"},
        "body": "y = MaxPool<kernel_shape = [2, 2, 2], strides = [2, 2, 2]>(x)",
    },
    "max with its places": {
        "body": "y, z = MaxPool<kernel_shape = [3, 2], strides = [2, 2], pads = [1, 0, 1, 1]>(x)",
        "outputs": {"y": "float", "z": "int64"},
        "inputs": {"x": "float[2, 4, 8, 9]"},
    },
    "max with its places, after a convolution, dilated": {
        "body": "c = Conv(x, w)\n y, z = MaxPool<kernel_shape = [2, 2], dilations = [2, 3], ceil_mode = 1>(c)",
        "outputs": {"y": "float", "z": "int64"},
        "weights": {"w": [3, 4, 3, 3]},
    },
    "max with its places, 1-D": {
        "inputs": LINE,
        "body": "y, z = MaxPool<kernel_shape = [4], strides = [3]>(x)",
        "outputs": {"y": "float", "z": "int64"},
    },
    "max, and back": {
        "body": "p, i = MaxPool<kernel_shape = [2, 3], strides = [2, 3]>(x)\n"
        "y = MaxUnpool<kernel_shape = [2, 3], strides = [2, 3]>(p, i)",
    },
    "max, and back, overlapping": {
        "inputs": {"x": "float[2, 3, 7, 9]"},
        "body": "p, i = MaxPool<kernel_shape = [3, 3], strides = [2, 2]>(x)\n"
        "y = MaxUnpool<kernel_shape = [3, 3], strides = [2, 2]>(p, i)",
    },
    "average, dilated, pads not counted": {
        "body": "y = AveragePool<kernel_shape = [2, 3], dilations = [3, 2], strides = [2, 1], pads = [1, 2, 0, 1]>(x)",
        "opset": 19,
    },
    "average, dilated, pads counted, ceil": {
        "body": "y = AveragePool<kernel_shape = [2, 2], dilations = [2, 2], strides = [2, 3], pads = [1, 1, 0, 1], "
        "ceil_mode = 1, count_include_pad = 1>(x)",
        "opset": 19,
    },
    "average, 3-D": {
        "inputs": VOLUME,
        "body": "y = AveragePool<kernel_shape = [3, 2, 2], strides = [2, 2, 1], pads = [1, 0, 1, 0, 1, 1]>(x)",
    },
    "average, 3-D, pads counted": {
        "inputs": VOLUME,
        "body": "y = AveragePool<kernel_shape = [2, 3, 2], pads = [1, 1, 0, 0, 1, 1], count_include_pad = 1>(x)",
    },
    "p-th powers": {"body": "y = LpPool<kernel_shape = [3, 2], strides = [2, 2], pads = [1, 0, 1, 1]>(x)", "opset": 18},
    "first powers, 1-D": {"inputs": LINE, "body": "y = LpPool<kernel_shape = [4], p = 1>(x)", "opset": 18},
    "third powers, 3-D": {
        "inputs": VOLUME,
        "body": "y = LpPool<kernel_shape = [2, 2, 2], p = 3, strides = [2, 1, 2]>(x)",
        "opset": 18,
    },
    "global p-th powers": {"body": "y = GlobalLpPool(x)"},
    "global third powers, 3-D": {"inputs": VOLUME, "body": "y = GlobalLpPool<p = 3>(x)"},
    "global max, 3-D": {"inputs": VOLUME, "body": "y = GlobalMaxPool(x)"},
    "columns": columns("strides = [1, 1]", [2, 18, 25], [6, 7], [2, 3]),
    "columns with gaps": columns("strides = [3, 2]", [1, 12, 6], [5, 7], [2, 3]),
    "columns, padded on one side more": columns("pads = [1, 0, 2, 1], strides = [2, 2]", [2, 12, 12], [6, 5], [2, 2]),
    "columns, dilated": columns("dilations = [2, 1], pads = [0, 1, 0, 1]", [2, 8, 18], [5, 5], [2, 2]),
    "columns of a line": columns("strides = [2]", [2, 9, 4], [9], [3]),
    "columns of a volume": columns("strides = [1, 1, 1]", [1, 16, 12], [3, 3, 4], [2, 2, 2]),
    "columns of no block": columns("strides = [1, 1]", [2, 3, 20], [4, 5], [1, 1]),
    "columns before a convolution": {
        **columns("strides = [1, 1]", [2, 18, 25], [6, 7], [2, 3]),
        "body": "c = Col2Im(x, s, k)\n y = Conv(c, w)",
        "weights": {"s": {"int64": [6, 7]}, "k": {"int64": [2, 3]}, "w": [4, 3, 3, 3]},
    },
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "max with the places of a large kernel": (
        {"body": "y, z = MaxPool<kernel_shape = [8, 9]>(x)", "outputs": {"y": "float", "z": "int64"}},
        "more than 64 places",
    ),
    "back into another shape": (
        {
            "body": "p, i = MaxPool<kernel_shape = [2, 3], strides = [2, 3]>(x)\n"
            "y = MaxUnpool<kernel_shape = [2, 3], strides = [2, 3]>(p, i, s)",
            "weights": {"s": {"int64": [1, 4, 9, 9]}},
        },
        "output_shape",
    ),
}
