"""Reductions and the places of extremes, over every kind of axes, against ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

IMAGE = {"x": "float[2, 4, 6, 5]"}
CONV = {"w": [4, 4, 1, 1]}
SOME = {"axes": {"int64": [-1, 1]}}
KINDS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSum", "LogSumExp")


def after_conv(body: str, weights: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return ops on `c`, an image that is stored with channels last."""
    return {"inputs": IMAGE, "body": f"c = Conv(x, w)\n {body}", "weights": {**CONV, **weights}, "opset": 18, **more}


def whole(kind: str, body: str, out: str | None = None, **more: Any) -> dict[str, Any]:
    """Return ops on a matrix of whole numbers from -2 to 1 with equal ones among them."""
    return {
        "inputs": {"x": f"{kind}[5, 4]"},
        "body": f"a = Sub(x, two)\n {body}",
        "weights": {"two": {kind: 2}, "rows": {"int64": [0]}},
        "outputs": {"y": out or kind},
        "opset": 18,
        **more,
    }


CASES: dict[str, dict[str, Any]] = {
    **{f"{kind} after a convolution": after_conv(f"a = Abs(c)\n y = Reduce{kind}(a, axes)", SOME) for kind in KINDS},
    **{
        f"{kind} of everything": after_conv(
            f"a = Abs(c)\n y = Reduce{kind}<keepdims = 0>(a)", {}, inputs={"x": "float[1, 4, 2, 3]"}
        )
        for kind in KINDS
    },
    **{
        f"{kind}, axes of run time{name}": {
            "inputs": {**IMAGE, "n": "int64[2]"},
            "body": f"a = Abs(x)\n y = Reduce{kind}<keepdims = {keep}>(a, n)",
            "outputs": {"y": f"float[{shape}]"},
            "feeds": {"n": [1, -1]},
            "opset": 18,
        }
        for kind in KINDS
        for name, keep, shape in (("", 1, "2, 1, 6, 1"), (", taken out", 0, "2, 6"))
    },
    **{
        f"{kind} with no axes at all": {
            "inputs": {"x": "float[2, 3]"},
            "body": f"a = Abs(x)\n y = Reduce{kind}<noop_with_empty_axes = 1>(a, axes)",
            "weights": {"axes": {"int64": []}},
            "opset": 18,
        }
        for kind in KINDS
        if kind != "LogSum"
    },
    "sum with axes as an attribute": after_conv("y = ReduceMax<axes = [1, 2], keepdims = 0>(c)", {}, opset=11),
    "logarithm of a sum of large exponentials": after_conv(
        "d = Mul(c, k)\n y = ReduceLogSumExp(d, axes)", {**SOME, "k": {"float": 100}}
    ),
    "logarithm of a sum, all of it minus infinity": {
        "inputs": {"x": "float[3]"},
        "body": "a = Abs(x)\n b = Mul(a, low)\n c = ReduceLogSumExp(b)\n y = IsInf<detect_positive = 0>(c)",
        "weights": {"low": {"float": float("-inf")}},
        "outputs": {"y": "bool"},
        "opset": 18,
    },
    **{
        f"{kind} of {dtype}": whole(dtype, f"y = Reduce{kind}(a, rows)")
        for dtype in ("int32", "int64")
        for kind in ("Sum", "Max", "Min", "Prod", "L1", "L2", "SumSquare")
    },
    "highest of small integers": whole("int8", "y = ReduceMax(a, rows)"),
    "highest of truths": whole("int32", "b = Less(a, two)\n y = ReduceMax(b, rows)", "bool", opset=20),
    "lowest of truths": whole("int32", "b = Less(two, a)\n y = ReduceMin(b, rows)", "bool", opset=20),
    **{
        f"{op} of {dtype}, {name}": whole(
            dtype, f"y = {op}<axis = {axis}, keepdims = {keep}, select_last_index = {last}>(a)", "int64"
        )
        for op in ("ArgMax", "ArgMin")
        for dtype in ("float", "int32", "int64", "int8")
        for name, axis, keep, last in (("the first", 0, 1, 0), ("the last", -1, 0, 1))
    },
    "place of the highest channel after a convolution": after_conv(
        "y = ArgMax<axis = 1, keepdims = 0, select_last_index = 1>(c)", {}, outputs={"y": "int64"}
    ),
}
