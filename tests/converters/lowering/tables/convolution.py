"""Convolutions over one to three axes, plain and transposed, against ONNX Runtime."""

from typing import Any

W = {"w": [6, 4, 3, 3]}
W_B = {"w": [6, 4, 3, 3], "b": [6]}
IMAGE = {"x": "float[1, 4, 8, 9]"}
VOLUME = {"x": "float[1, 4, 5, 6, 4]"}
LINE = {"x": "float[2, 4, 17]"}
WAYS_BACK = {"w": [4, 6, 3, 3]}

CASES: dict[str, dict[str, Any]] = {
    "plain": {"body": "y = Conv(x, w)", "weights": W},
    "bias and same pads": {"body": "y = Conv<pads = [1, 1, 1, 1]>(x, w, b)", "weights": W_B},
    "stride 2, pads before": {"body": "y = Conv<pads = [1, 1, 0, 0], strides = [2, 2]>(x, w, b)", "weights": W_B},
    "stride 2, pads as PyTorch": {"body": "y = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)", "weights": W},
    "unequal strides": {"body": "y = Conv<pads = [0, 2, 1, 3], strides = [1, 3]>(x, w)", "weights": W},
    "dilated": {"body": "y = Conv<dilations = [2, 2], pads = [2, 2, 2, 2]>(x, w)", "weights": W},
    "unequally dilated": {"body": "y = Conv<dilations = [1, 3], pads = [0, 3, 2, 1]>(x, w)", "weights": W},
    "same upper": {"body": 'y = Conv<auto_pad = "SAME_UPPER", strides = [2, 2]>(x, w)', "weights": W},
    "same lower": {"body": 'y = Conv<auto_pad = "SAME_LOWER", strides = [2, 2]>(x, w)', "weights": W},
    "auto valid": {"body": 'y = Conv<auto_pad = "VALID">(x, w)', "weights": W},
    "even kernel": {"body": "y = Conv<pads = [0, 1, 1, 0]>(x, w)", "weights": {"w": [6, 4, 2, 4]}},
    "1x1": {"body": "y = Conv(x, w, b)", "weights": {"w": [6, 4, 1, 1], "b": [6]}},
    "1x1, stride 2": {"body": "y = Conv<strides = [2, 2]>(x, w)", "weights": {"w": [6, 4, 1, 1]}},
    "depthwise": {
        "body": "y = Conv<group = 4, pads = [1, 1, 1, 1]>(x, w, b)",
        "weights": {"w": [4, 1, 3, 3], "b": [4]},
    },
    "depthwise, stride 2": {
        "body": "y = Conv<group = 4, pads = [1, 1, 1, 1], strides = [2, 2]>(x, w)",
        "weights": {"w": [4, 1, 3, 3]},
    },
    "depthwise, unequal strides": {
        "body": "y = Conv<group = 4, strides = [2, 1]>(x, w)",
        "weights": {"w": [4, 1, 3, 3]},
    },
    "depthwise, 2 a channel": {"body": "y = Conv<group = 4>(x, w)", "weights": {"w": [8, 1, 3, 3]}},
    "depthwise, dilated": {
        "body": "y = Conv<group = 4, dilations = [2, 2], pads = [2, 2, 2, 2]>(x, w)",
        "weights": {"w": [4, 1, 3, 3]},
    },
    "one channel in": {
        "inputs": {"x": "float[1, 1, 8, 9]"},
        "body": "y = Conv<pads = [1, 1, 1, 1]>(x, w)",
        "weights": {"w": [5, 1, 3, 3]},
    },
    "two groups": {"body": "y = Conv<group = 2>(x, w, b)", "weights": {"w": [6, 2, 3, 3], "b": [6]}},
    "groups, stride and dilation": {
        "body": "y = Conv<group = 2, strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)",
        "weights": {"w": [6, 2, 3, 3]},
    },
    "batch of 3": {"inputs": {"x": "float[3, 4, 8, 9]"}, "body": "y = Conv(x, w)", "weights": W},
    "free batch": {"inputs": {"x": "float[N, 4, 8, 9]"}, "body": "y = Conv(x, w)", "weights": W},
    "weights among the inputs": {
        "inputs": {"x": "float[1, 4, 8, 9]", "w": "float[6, 4, 3, 3]"},
        "body": "y = Conv(x, w)",
        "weights": W,
        "opset": 9,
    },
    "weights out of a constant chain": {
        "body": "t = Transpose<perm = [1, 0, 2, 3]>(w)\n u = Mul(t, k)\n y = Conv(x, u)",
        "weights": {"w": [4, 6, 3, 3], "k": {"float": 0.5}},
    },
    "1-D": {"inputs": LINE, "body": "y = Conv<pads = [1, 1]>(x, w, b)", "weights": {"w": [6, 4, 3], "b": [6]}},
    "1-D, causal and dilated": {
        "inputs": LINE,
        "body": "y = Conv<dilations = [4], pads = [8, 0]>(x, w)",
        "weights": {"w": [6, 4, 3]},
    },
    "1-D, depthwise": {"inputs": LINE, "body": "y = Conv<group = 4, strides = [2]>(x, w)", "weights": {"w": [4, 1, 5]}},
    "1-D, same upper": {
        "inputs": LINE,
        "body": 'y = Conv<auto_pad = "SAME_UPPER", strides = [3]>(x, w)',
        "weights": {"w": [6, 4, 4]},
    },
    "1-D, two layers": {
        "inputs": LINE,
        "body": "a = Conv(x, w)\n r = Relu(a)\n y = Conv(r, v)",
        "weights": {"w": [6, 4, 3], "v": [2, 6, 3]},
    },
    "weights from an input": {
        "inputs": {**IMAGE, "v": "float[2, 4, 3, 3]", "c": "float[2]"},
        "body": "y = Conv<pads = [1, 0, 2, 1], dilations = [1, 2]>(x, v, c)",
    },
    "depthwise, weights from an input": {
        "inputs": {**IMAGE, "v": "float[8, 1, 3, 3]"},
        "body": "y = Conv<group = 4, strides = [2, 1]>(x, v)",
    },
    "weights of two groups made at run time": {
        "inputs": {**IMAGE, "v": "float[3, 3, 2, 6]"},
        "body": "k = Transpose<perm = [3, 2, 0, 1]>(v)\n y = Conv<group = 2>(x, k)",
    },
    "1-D, weights from an input": {
        "inputs": {**LINE, "v": "float[6, 4, 3]"},
        "body": "y = Conv<strides = [2], pads = [1, 0]>(x, v)",
    },
    "3-D": {"inputs": VOLUME, "body": "y = Conv(x, w, b)", "weights": {"w": [3, 4, 2, 3, 2], "b": [3]}},
    "3-D, strides, pads and dilations": {
        "inputs": VOLUME,
        "body": "y = Conv<strides = [2, 1, 2], pads = [1, 0, 1, 2, 1, 0], dilations = [2, 1, 2]>(x, w)",
        "weights": {"w": [3, 4, 3, 3, 2]},
    },
    "3-D, depthwise, between others": {
        "inputs": VOLUME,
        "body": "a = Conv(x, w)\n r = Relu(a)\n c = Conv<group = 4, pads = [1, 1, 1, 1, 1, 1]>(r, d)\n y = Conv(c, w)",
        "weights": {"w": [4, 4, 1, 1, 1], "d": [4, 1, 3, 3, 3]},
    },
    "3-D, two groups, same upper": {
        "inputs": VOLUME,
        "body": 'y = Conv<group = 2, auto_pad = "SAME_UPPER", strides = [3, 2, 2]>(x, w)',
        "weights": {"w": [6, 2, 3, 3, 3]},
    },
    "3-D, weights from an input": {
        "inputs": {**VOLUME, "v": "float[3, 4, 2, 2, 2]"},
        "body": "y = Conv<pads = [0, 0, 0, 1, 1, 1]>(x, v)",
    },
    "3-D, free batch": {
        "inputs": {"x": "float[N, 4, 5, 6, 4]"},
        "body": "y = Conv<pads = [1, 0, 0, 1, 0, 0]>(x, w)",
        "weights": {"w": [3, 4, 3, 3, 2]},
    },
    "transposed": {"body": "y = ConvTranspose(x, w)", "weights": WAYS_BACK},
    "transposed k2 s2": {
        "body": "y = ConvTranspose<strides = [2, 2]>(x, w, b)",
        "weights": {"w": [4, 6, 2, 2], "b": [6]},
    },
    "transposed k4 s2 p1": {
        "body": "y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)",
        "weights": {"w": [4, 6, 4, 4]},
    },
    "transposed k3 s2 p1": {
        "body": "y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1]>(x, w)",
        "weights": WAYS_BACK,
    },
    "transposed k3 s2 p1 op1": {
        "body": "y = ConvTranspose<strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]>(x, w)",
        "weights": WAYS_BACK,
    },
    "transposed k2 s2 op1": {
        "body": "y = ConvTranspose<strides = [2, 2], output_padding = [1, 1]>(x, w, b)",
        "weights": {"w": [4, 6, 2, 2], "b": [6]},
    },
    "transposed k3 s3 p1 op2": {
        "body": "y = ConvTranspose<strides = [3, 3], pads = [1, 1, 1, 1], output_padding = [2, 2]>(x, w)",
        "weights": WAYS_BACK,
    },
    "transposed, unequal": {
        "body": "y = ConvTranspose<strides = [2, 3], pads = [0, 1, 2, 0]>(x, w)",
        "weights": {"w": [4, 6, 3, 5]},
    },
    "transposed k1 s2": {"body": "y = ConvTranspose<strides = [2, 2]>(x, w)", "weights": {"w": [4, 6, 1, 1]}},
    "transposed, same upper": {
        "body": 'y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_UPPER">(x, w)',
        "weights": WAYS_BACK,
    },
    "transposed, same lower": {
        "body": 'y = ConvTranspose<strides = [2, 2], auto_pad = "SAME_LOWER">(x, w)',
        "weights": WAYS_BACK,
    },
    "transposed to a shape": {
        "body": "y = ConvTranspose<strides = [2, 2], output_shape = [16, 18]>(x, w)",
        "weights": WAYS_BACK,
    },
    "transposed, two groups": {
        "body": "y = ConvTranspose<strides = [2, 2], group = 2>(x, w)",
        "weights": {"w": [4, 3, 3, 3]},
    },
    "transposed, depthwise": {
        "body": "y = ConvTranspose<strides = [2, 2], group = 4, pads = [1, 1, 1, 1]>(x, w)",
        "weights": {"w": [4, 1, 4, 4]},
    },
    "transposed, dilated": {
        "body": "y = ConvTranspose<strides = [2, 1], dilations = [2, 3], pads = [1, 2, 0, 1]>(x, w, b)",
        "weights": {"w": [4, 6, 3, 3], "b": [6]},
    },
    "transposed 1-D": {
        "inputs": LINE,
        "body": "y = ConvTranspose<strides = [2], pads = [1, 1], output_padding = [1]>(x, w, b)",
        "weights": {"w": [4, 6, 4], "b": [6]},
    },
    "transposed 1-D, beyond what the kernel reaches": {
        "inputs": LINE,
        "body": "y = ConvTranspose<strides = [3], output_padding = [2]>(x, w, b)",
        "weights": {"w": [4, 6, 2], "b": [6]},
    },
    "transposed, beyond the size asked for": {
        "body": "y = ConvTranspose<strides = [3, 2], output_shape = [26, 20]>(x, w, b)",
        "weights": {"w": [4, 6, 3, 3], "b": [6]},
    },
    "transposed, weights from an input": {
        "inputs": {**IMAGE, "v": "float[4, 3, 3, 2]", "c": "float[6]"},
        "body": "y = ConvTranspose<strides = [2, 2], group = 2, dilations = [3, 2], pads = [1, 0, 2, 1]>(x, v, c)",
    },
    "transposed 3-D": {
        "inputs": VOLUME,
        "body": "y = ConvTranspose<strides = [2, 1, 3], pads = [1, 0, 1, 0, 1, 1], output_padding = [1, 0, 1]>(x, w)",
        "weights": {"w": [4, 6, 3, 2, 3]},
    },
    "transposed 3-D, two groups, dilated": {
        "inputs": VOLUME,
        "body": "y = ConvTranspose<strides = [2, 2, 2], group = 2, dilations = [1, 2, 2]>(x, w, b)",
        "weights": {"w": [4, 3, 2, 2, 2], "b": [6]},
    },
    "transposed, two groups with bias": {
        "body": "y = ConvTranspose<strides = [2, 2], group = 2>(x, w, b)",
        "weights": {"w": [4, 3, 2, 2], "b": [6]},
    },
}


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "4-D": (
        {
            "inputs": {"x": "float[1, 2, 4, 4, 4, 4]"},
            "body": "y = Conv(x, w)",
            "weights": {"w": [3, 2, 2, 2, 2, 2]},
        },
        "rank 6",
    ),
}
