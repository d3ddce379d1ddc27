"""Which TFLite ops key patterns become: layout, fusion, and the one op where TFLite has one."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

IMAGE = {"x": "float[1, 3, 8, 8]"}
FIRST = "c = Conv<pads = [1, 1, 1, 1]>(x, w)\n"
LAST = "\n p = GlobalAveragePool(z)\n y = Flatten(p)"
W = {"w": [4, 3, 3, 3], "v": [4, 4, 3, 3]}
ONLY_IN = {"TRANSPOSE": 1, "CONV_2D": 1, "MEAN": 1}


def inside(body: str, weights: Mapping[str, Any] | None = None, opset: int = 13) -> dict[str, Any]:
    """Return a net with ops from `c` to `z` between a convolution and a mean: the input alone needs a TRANSPOSE."""
    return {"inputs": IMAGE, "body": FIRST + body + LAST, "weights": {**W, **(weights or {})}, "opset": opset}


BN = {"s": {"float": [1, 2, 3, 0.5]}, "o": {"float": [0, 1, 2, 3]}, "m": {"float": [1, 0, 1, 0]}}
BN |= {"q": {"float": [1, 4, 2, 0.3]}}
THREE_SIX = {"three": {"float": 3.0}, "six": {"float": 6.0}, "zero": {"float": 0.0}}
HALF_ONE = {"root": {"float": 1.4142135}, "one": {"float": 1.0}, "half": {"float": 0.5}}

CASES: dict[str, tuple[dict[str, Any], dict[str, int]]] = {
    "batch norm and relu are fused": (
        inside("n = BatchNormalization(c, s, o, m, q)\n z = Relu(n)", BN),
        ONLY_IN,
    ),
    "relu6 by a clip is fused": (inside("z = Clip(c, zero, six)", THREE_SIX), ONLY_IN),
    "relu6 by a clip of opset 6 is fused": (inside("z = Clip<min = 0.0, max = 6.0>(c)", opset=9), ONLY_IN),
    "a bias added afterwards is fused": (
        inside("z = Add(c, a)", {"a": {"float": [[[1.0]], [[2.0]], [[3.0]], [[4.0]]]}}),
        ONLY_IN,
    ),
    "hard-swish as one op": (inside("z = HardSwish(c)", opset=14), {**ONLY_IN, "HARD_SWISH": 1}),
    "hard-swish by a hard sigmoid": (
        inside("h = HardSigmoid<alpha = 0.16666667, beta = 0.5>(c)\n z = Mul(c, h)"),
        {**ONLY_IN, "HARD_SWISH": 1},
    ),
    "hard-swish written out": (
        inside("a = Add(c, three)\n b = Clip(a, zero, six)\n d = Mul(c, b)\n z = Div(d, six)", THREE_SIX),
        {**ONLY_IN, "HARD_SWISH": 1},
    ),
    "gelu written out": (
        inside("a = Div(c, root)\n b = Erf(a)\n d = Add(b, one)\n e = Mul(c, d)\n z = Mul(e, half)", HALF_ONE),
        {**ONLY_IN, "GELU": 1},
    ),
    "leaky relu": (inside("z = LeakyRelu<alpha = 0.1>(c)"), {**ONLY_IN, "LEAKY_RELU": 1}),
    "one slope a channel": (
        inside("z = PRelu(c, slope)", {"slope": {"float": [[[0.1]], [[0.2]], [[0.3]], [[0.4]]]}}),
        {**ONLY_IN, "PRELU": 1},
    ),
    "average pool": (
        inside("z = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(c)"),
        {**ONLY_IN, "AVERAGE_POOL_2D": 1},
    ),
    "average pool whose pads are counted": (
        inside("z = AveragePool<kernel_shape = [3, 3], pads = [1, 1, 1, 1], count_include_pad = 1>(c)"),
        {**ONLY_IN, "PAD": 1, "AVERAGE_POOL_2D": 1},
    ),
    "max pool": (
        inside("z = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(c)"),
        {**ONLY_IN, "MAX_POOL_2D": 1},
    ),
    "nearest resize": (
        inside(
            'z = Resize<mode = "nearest", coordinate_transformation_mode = "asymmetric", nearest_mode = "floor">'
            "(c, , f)",
            {"f": {"float": [1, 1, 2, 2]}},
        ),
        {**ONLY_IN, "RESIZE_NEAREST_NEIGHBOR": 1},
    ),
    "a residual": (inside("d = Conv<pads = [1, 1, 1, 1]>(c, v)\n z = Add(d, c)"), {**ONLY_IN, "CONV_2D": 2, "ADD": 1}),
    "branches joined along the channels": (
        inside("d = Conv<pads = [1, 1, 1, 1]>(c, v)\n z = Concat<axis = 1>(c, d)"),
        {**ONLY_IN, "CONV_2D": 2, "CONCATENATION": 1},
    ),
    "squeeze and excite": (
        inside("g = GlobalAveragePool(c)\n h = Conv(g, k)\n s = Sigmoid(h)\n z = Mul(c, s)", {"k": [4, 4, 1, 1]}),
        {"TRANSPOSE": 1, "CONV_2D": 2, "MEAN": 2, "LOGISTIC": 1, "MUL": 1},
    ),
    "depthwise": (
        inside("z = Conv<group = 4, pads = [1, 1, 1, 1]>(c, k)", {"k": [4, 1, 3, 3]}),
        {**ONLY_IN, "DEPTHWISE_CONV_2D": 1},
    ),
    "transposed by 2": (
        inside("z = ConvTranspose<strides = [2, 2]>(c, k)", {"k": [4, 4, 2, 2]}),
        {**ONLY_IN, "TRANSPOSE_CONV": 1},
    ),
    "softmax over the channels": (inside("z = Softmax<axis = 1>(c)"), {**ONLY_IN, "SOFTMAX": 1}),
    "pixel shuffle, depth first": (
        inside('z = DepthToSpace<blocksize = 2, mode = "DCR">(c)'),
        {**ONLY_IN, "DEPTH_TO_SPACE": 1},
    ),
    "pixel shuffle of one channel, as PyTorch": (
        inside('z = DepthToSpace<blocksize = 2, mode = "CRD">(c)'),
        {**ONLY_IN, "DEPTH_TO_SPACE": 1},
    ),
    "a dense layer by its bias": (
        {
            "inputs": {"x": "float[1, 6]"},
            "body": "m = MatMul(x, w)\n a = Add(m, b)\n y = Relu(a)",
            "weights": {"w": [6, 5], "b": [5]},
        },
        {"FULLY_CONNECTED": 1},
    ),
    "turning an image to the form it is stored in": (
        {"inputs": IMAGE, "body": FIRST + "y = Transpose<perm = [0, 2, 3, 1]>(c)", "weights": {"w": [4, 3, 3, 3]}},
        {"TRANSPOSE": 1, "CONV_2D": 1},
    ),
    "attention's heads put together again": (
        {
            "inputs": {"a": "float[1, 3, 5, 5]", "v": "float[1, 3, 5, 4]"},
            "body": "m = MatMul(a, v)\n t = Transpose<perm = [0, 2, 1, 3]>(m)\n r = Reshape(t, s)\n y = MatMul(r, w)",
            "weights": {"s": {"int64": [1, 5, 12]}, "w": [12, 6]},
        },
        {"BATCH_MATMUL": 1, "TRANSPOSE": 1, "FULLY_CONNECTED": 1},
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_it_becomes_these_ops(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    _, wanted = CASES[name]
    answer = lowered(TABLE)[name]
    proven(answer)
    # a reshape moves nothing: it costs no time and its place is the compiler's business
    assert {op: count for op, count in answer["ops"].items() if op != "RESHAPE"} == wanted


TABLE = {name: case for name, (case, _) in CASES.items()}
