"""Ops that sort, or make values of sizes and places, against ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

IMAGE = {"x": "float[2, 4, 6, 5]"}
CONV = {"w": [4, 4, 1, 1]}
FLOATS = {"y": "float"}
PLACES = {"y": "float", "i": "int64"}


def number(value: int) -> dict[str, Any]:
    """Return a constant number."""
    return {"int64": value}


def after_conv(body: str, weights: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return ops on `c`, an image that is stored with channels last."""
    return {"inputs": IMAGE, "body": f"c = Conv(x, w)\n {body}", "weights": {**CONV, **weights}, **more}


def equal_ones(body: str, kind: str) -> dict[str, Any]:
    """Return TopK of whole numbers, many of them equal."""
    return {
        "inputs": {"x": f"{kind}[3, 12]"},
        "body": f"a = Sub(x, two)\n y, i = {body}(a, k)",
        "weights": {"two": {kind: 2}, "k": {"int64": [7]}},
        "outputs": {"y": kind, "i": "int64"},
        "opset": 24,
    }


CASES: dict[str, dict[str, Any]] = {
    "highest channels after a convolution": after_conv(
        "y, i = TopK<axis = 1>(c, k)", {"k": {"int64": [2]}}, outputs=PLACES
    ),
    "lowest of the first axis": after_conv(
        "y, i = TopK<axis = 0, largest = 0>(c, k)", {"k": {"int64": [1]}}, outputs=PLACES
    ),
    "only the places of the highest": after_conv("v, y = TopK(c, k)", {"k": {"int64": [3]}}, outputs={"y": "int64"}),
    "highest, opset 9": {"inputs": IMAGE, "body": "y, i = TopK<axis = 2, k = 3>(x)", "outputs": PLACES, "opset": 9},
    "highest, their number of run time": {
        "inputs": {**IMAGE, "k": "int64[1]"},
        "body": "y, i = TopK(x, k)",
        "outputs": {"y": "float[2, 4, 6, 3]", "i": "int64[2, 4, 6, 3]"},
        "feeds": {"k": [3]},
    },
    **{f"highest of {kind}": equal_ones("TopK", kind) for kind in ("int32", "int64")},
    **{f"lowest of {kind}": equal_ones("TopK<largest = 0>", kind) for kind in ("int32", "int64")},
    **{
        f"range of {kind}": {
            "inputs": {"x": f"{kind}[]", "n": f"{kind}[]"},
            "body": "a = Add(x, ten)\n r = Range(x, a, three)\n f = Cast<to = 1>(r)\n y = ReduceSum<keepdims = 0>(f)",
            "weights": {"ten": {kind: 10}, "three": {kind: 3}},
        }
        for kind in ("float", "int32", "int64")
    },
    "a shape of run time": {
        "inputs": {"x": "int64[2]"},
        "body": "y = ConstantOfShape<value = int32[1] {7}>(x)",
        "outputs": {"y": "int32[2, 3]"},
        "feeds": {"x": [2, 3]},
    },
    **{
        f"ones on diagonal {k}": {
            "inputs": {"x": "int32[3, 5]"},
            "body": f"e = EyeLike<k = {k}, dtype = 1>(x)\n f = Cast<to = 1>(x)\n y = Mul(e, f)",
        }
        for k in (-1, 0, 2)
    },
    **{
        f"triangle {upper}, {name}": after_conv(f"y = Trilu<upper = {upper}>({given})", {"k": number(-2)}, opset=14)
        for upper in (0, 1)
        for name, given in (("the diagonal itself", "c"), ("two below", "c, k"))
    },
    "triangle from a diagonal of run time": {
        "inputs": {"x": "int64[2, 4, 3]", "k": "int64[]"},
        "body": "y = Trilu(x, k)",
        "outputs": {"y": "int64"},
        "feeds": {"k": -1},
        "opset": 14,
    },
    **{
        f"one-hot on axis {axis}, {kind}": {
            "inputs": {"x": "int64[2, 3]"},
            "body": f"p = Sub(x, two)\n y = OneHot<axis = {axis}>(p, d, v)",
            "weights": {"two": {"int64": 2}, "d": number(2), "v": {kind: [0, 1]}},
            "outputs": {"y": kind},
        }
        for axis, kind in ((-1, "float"), (0, "int32"), (1, "int64"))
    },
    "one-hot, depth and values of run time": {
        "inputs": {"x": "int64[2, 3]", "d": "int64[1]", "v": "float[2]"},
        "body": "y = OneHot(x, d, v)",
        "outputs": {"y": "float[2, 3, 4]"},
        "feeds": {"d": [4]},
    },
    **{
        f"sums, exclusive {exclusive}, backwards {reverse}": after_conv(
            f"y = CumSum<exclusive = {exclusive}, reverse = {reverse}>(c, a)", {"a": {"int64": 1}}, opset=14
        )
        for exclusive in (0, 1)
        for reverse in (0, 1)
    },
    "sums along an axis of run time": {
        "inputs": {"x": "int32[2, 3, 4]", "a": "int64[]"},
        "body": "y = CumSum(x, a)",
        "outputs": {"y": "int32"},
        "feeds": {"a": -2},
    },
    **{
        f"products, exclusive {exclusive}, backwards {reverse}": after_conv(
            f"y = CumProd<exclusive = {exclusive}, reverse = {reverse}>(c, a)", {"a": {"int64": 2}}, opset=26
        )
        for exclusive in (0, 1)
        for reverse in (0, 1)
    },
    **{
        f"{window} window of a size of run time": {
            "inputs": {"x": "float[]", "n": "int64[]"},
            "body": f"a = {window}Window(n)\n y = Mul(a, x)",
            "feeds": {"n": 7},
            "outputs": {"y": "float[7]"},
            "opset": 17,
        }
        for window in ("Hann", "Hamming", "Blackman")
    },
}
