"""Dense layers, products, softmax, reductions and normalisations, against ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

IMAGE = {"x": "float[2, 4, 6, 5]"}
ROWS = {"x": "float[3, 8]"}
CONV = {"w": [4, 4, 1, 1]}


def axes(*values: int) -> dict[str, Any]:
    """Return a constant of axes."""
    return {"int64": list(values)}


def both(name: str, body: str, weights: Mapping[str, Any] | None = None, **more: Any) -> dict[str, dict[str, Any]]:
    """Return ops on `c` twice: on the input as it is, and after a convolution."""
    weights = weights or {}
    plain = {"inputs": IMAGE, "body": f"c = Identity(x)\n {body}", "weights": weights, **more}
    turned = {"inputs": IMAGE, "body": f"c = Conv(x, w)\n {body}", "weights": {**CONV, **weights}, **more}
    return {name: plain, f"{name}, after a convolution": turned}


NORM = {"s": [4], "o": [4], "m": [4], "v": {"float": [0.5, 1.5, 2.5, 0.1]}}
CASES: dict[str, dict[str, Any]] = {
    "gemm": {"inputs": ROWS, "body": "y = Gemm(x, k, b)", "weights": {"k": [8, 5], "b": [5]}},
    "gemm, weights turned": {
        "inputs": ROWS,
        "body": "y = Gemm<transB = 1>(x, k, b)",
        "weights": {"k": [5, 8], "b": [5]},
    },
    "gemm, input turned": {
        "inputs": {"x": "float[8, 3]"},
        "body": "y = Gemm<transA = 1>(x, k)",
        "weights": {"k": [8, 5]},
    },
    "gemm, factors": {
        "inputs": ROWS,
        "body": "y = Gemm<alpha = 0.5, beta = 2.0>(x, k, b)",
        "weights": {"k": [8, 5], "b": [1, 5]},
    },
    "gemm, one number added": {
        "inputs": ROWS,
        "body": "y = Gemm(x, k, b)",
        "weights": {"k": [8, 5], "b": {"float": 0.5}},
    },
    "gemm, a column added": {"inputs": ROWS, "body": "y = Gemm(x, k, b)", "weights": {"k": [8, 5], "b": [3, 1]}},
    "gemm, square, a column added": {
        "inputs": ROWS,
        "body": "y = Gemm(x, k, b)",
        "weights": {"k": [8, 3], "b": [3, 1]},
    },
    "gemm, one output": {"inputs": ROWS, "body": "y = Gemm(x, k, b)", "weights": {"k": [8, 1], "b": [1]}},
    "matmul and bias": {"inputs": ROWS, "body": "a = MatMul(x, k)\n y = Add(a, b)", "weights": {"k": [8, 5], "b": [5]}},
    "matmul of rank 3": {"inputs": {"x": "float[2, 3, 8]"}, "body": "y = MatMul(x, k)", "weights": {"k": [8, 5]}},
    "matmul over channels as PyTorch's linear has it": {
        "inputs": IMAGE,
        "body": "t = Transpose<perm = [0, 2, 3, 1]>(x)\n a = MatMul(t, k)\n y = Transpose<perm = [0, 3, 1, 2]>(a)",
        "weights": {"k": [4, 7]},
    },
    "matmul of two inputs": {"inputs": {"x": "float[2, 3, 8]", "z": "float[2, 8, 4]"}, "body": "y = MatMul(x, z)"},
    "matmul, one side broadcast": {"inputs": {"x": "float[2, 3, 8]", "z": "float[8, 4]"}, "body": "y = MatMul(x, z)"},
    "matmul, a constant on the left": {
        "inputs": {"x": "float[2, 8, 4]"},
        "body": "y = MatMul(k, x)",
        "weights": {"k": [3, 8]},
    },
    "matmul, constants a batch": {
        "inputs": {"x": "float[2, 3, 8]"},
        "body": "y = MatMul(x, k)",
        "weights": {"k": [2, 8, 4]},
    },
    "matmul with a vector": {"inputs": ROWS, "body": "y = MatMul(x, k)", "weights": {"k": [8]}},
    "matmul of a vector": {"inputs": {"x": "float[8]"}, "body": "y = MatMul(x, k)", "weights": {"k": [8, 3]}},
    "attention": {
        "inputs": {"x": "float[2, 5, 8]"},
        "body": "q = MatMul(x, a)\n k = MatMul(x, b)\n v = MatMul(x, d)\n t = Transpose<perm = [0, 2, 1]>(k)\n"
        " s = MatMul(q, t)\n n = Mul(s, f)\n p = Softmax<axis = -1>(n)\n y = MatMul(p, v)",
        "weights": {"a": [8, 8], "b": [8, 8], "d": [8, 8], "f": {"float": 0.35}},
    },
    "dense after a flattened convolution": {
        "inputs": IMAGE,
        "body": "c = Conv(x, w)\n r = Relu(c)\n f = Flatten(r)\n d = Dropout(f)\n y = Gemm(d, k, b)",
        "weights": {**CONV, "k": [120, 5], "b": [5]},
    },
    "product after a reshaped convolution": {
        "inputs": IMAGE,
        "body": "c = Conv(x, w)\n f = Reshape(c, s)\n y = MatMul(f, k)",
        "weights": {**CONV, "k": [120, 5], "s": {"int64": [0, -1]}},
    },
    "softmax of five axes": {"inputs": {"x": "float[2, 3, 2, 2, 5]"}, "body": "y = Softmax(x)"},
    **both("softmax over channels", "y = Softmax<axis = 1>(c)"),
    **both("softmax over columns", "y = Softmax(c)"),
    **both("softmax over rows", "y = Softmax<axis = 2>(c)"),
    **both("log softmax over channels", "y = LogSoftmax<axis = 1>(c)"),
    **both("softmax, opset 11: over all from the axis on", "y = Softmax<axis = 1>(c)", opset=11),
    "softmax, opset 9": {"inputs": ROWS, "body": "y = Softmax(x)", "opset": 9},
    **both("mean of places", "y = ReduceMean<axes = [2, 3]>(c)"),
    **both("mean of places, which go", "y = ReduceMean<axes = [2, 3], keepdims = 0>(c)"),
    **both("mean of channels", "y = ReduceMean<axes = [1], keepdims = 0>(c)"),
    **both("mean, opset 18", "y = ReduceMean<keepdims = 0>(c, k)", {"k": axes(-1, 1)}, opset=18),
    **both("mean of everything", "y = ReduceMean<keepdims = 0>(c)"),
    **both("sum", "y = ReduceSum(c, k)", {"k": axes(2)}),
    **both("sum, opset 11", "y = ReduceSum<axes = [-3], keepdims = 0>(c)", opset=11),
    "sum of nothing": {
        "inputs": IMAGE,
        "body": "y = ReduceSum<noop_with_empty_axes = 1>(x, k)",
        "weights": {"k": {"int64": []}},
    },
    **both("max", "y = ReduceMax<axes = [1, 2], keepdims = 0>(c)"),
    **both("min", "y = ReduceMin<axes = [3]>(c)"),
    **both("product", "y = ReduceProd<axes = [1]>(c)"),
    **both("length", "y = ReduceL2<axes = [1]>(c)"),
    **both("sum of sizes", "y = ReduceL1<axes = [1]>(c)"),
    **both("sum of squares", "y = ReduceSumSquare<axes = [1], keepdims = 0>(c)"),
    **both("highest channel", "y = ArgMax<axis = 1, keepdims = 0>(c)", outputs={"y": "int64"}),
    **both("lowest row, kept", "y = ArgMin<axis = 2>(c)", outputs={"y": "int64"}),
    **both("batch norm", "y = BatchNormalization(c, s, o, m, v)", NORM),
    "batch norm of rows": {
        "inputs": {"x": "float[3, 4]"},
        "body": "y = BatchNormalization<epsilon = 0.01>(x, s, o, m, v)",
        "weights": NORM,
    },
    **both("instance norm", "y = InstanceNormalization(c, s, o)", {"s": [4], "o": [4]}),
    **both("layer norm", "y = LayerNormalization(c, s, o)", {"s": [5], "o": [5]}, opset=17),
    **both("layer norm from axis 1", "y = LayerNormalization<axis = 1>(c, s)", {"s": [4, 6, 5]}, opset=17),
    **both(
        "group norm as PyTorch writes it",
        "a = Reshape(c, g)\n n = InstanceNormalization(a, s, o)\n r = Reshape(n, h)\n m = Mul(r, k)\n y = Add(m, k)",
        {"g": axes(0, 2, -1), "h": axes(2, 4, 6, 5), "s": {"float": [1, 1]}, "o": {"float": [0, 0]}, "k": [4, 1, 1]},
    ),
    **both("local response norm", "y = LRN<size = 3, alpha = 0.01, bias = 2.0>(c)"),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "batch norm in training": (
        {
            "inputs": IMAGE,
            "body": "y, a, b = BatchNormalization<training_mode = 1>(x, s, o, m, v)",
            "weights": NORM,
            "opset": 15,
        },
        "training",
    ),
}
