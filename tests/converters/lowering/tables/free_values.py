"""Ops on values whose sizes are free, with sizes the conversion did not see, against ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

ROWS = {"x": "float[N, 4]"}
BOTH = {"x": "float[N, M, 4]"}


def free(body: str, inputs: Mapping[str, str] = ROWS, **more: Any) -> dict[str, Any]:
    """Return ops on inputs with free sizes."""
    return {"inputs": inputs, "body": body, "opset": 18, **more}


PLACES = {"y": "int64"}
CASES: dict[str, dict[str, Any]] = {
    **{op: free(f"y = {op}(x)", range=[0.1, 0.9]) for op in ("Atan", "Asin", "Asinh", "Sinh", "Erf", "Mish", "Shrink")},
    "comparison": free("c = Less(x, z)\n y = Where(c, x, z)", {**BOTH, "z": "float[M, 1]"}),
    "comparison in five dimensions": free(
        "c = Less(x, z)\n y = Where(c, x, z)", {"x": "float[2, N, 3, 2, 2]", "z": "float[1, 1, 1, 2, 2]"}
    ),
    "slope of run time": free("y = PRelu(x, s)", {**ROWS, "s": "float[4]"}),
    "sum of columns": free("y = ReduceSum(x, a)", weights={"a": {"int64": [0]}}),
    "sum of rows": free("y = ReduceLogSumExp<keepdims = 0>(x, a)", BOTH, weights={"a": {"int64": [-1]}}),
    "mean of everything": free("y = ReduceMean(x)", BOTH),
    "place of the highest": free("y = ArgMax<axis = 1, keepdims = 0>(x)", BOTH, outputs=PLACES),
    "place of the last of the highest": free("y = ArgMax<select_last_index = 1>(x)", outputs=PLACES),
    "highest": free("y, i = TopK(x, k)", BOTH, weights={"k": {"int64": [2]}}, outputs={"y": "float", **PLACES}),
    "hardmax over a free axis": free("y = Hardmax<axis = 1>(x)", BOTH),
    "triangle": free("y = Trilu(x)", {"x": "float[2, N, M]"}),
    "diagonal": free("e = EyeLike<k = 1>(x)\n y = Add(e, x)", {"x": "float[N, M]"}),
    "running sums": free("y = CumSum(x, a)", weights={"a": {"int64": 0}}),
    "one-hot": free(
        "y = OneHot(x, d, v)",
        {"x": "int64[N, 3]"},
        weights={"d": {"int64": 4}, "v": {"float": [0, 1]}},
    ),
    "a range as long as the input": free(
        "s = Shape(x)\n n = Gather(s, z)\n r = Range(z, n, o)\n c = Unsqueeze(r, a)\n f = Cast<to = 1>(c)\n"
        " y = Mul(x, f)",
        weights={"z": {"int64": 0}, "o": {"int64": 1}, "a": {"int64": [1]}},
    ),
    "einsum with a free batch": free(
        'y = Einsum<equation = "bhqd,bhkd->bhqk">(x, z)', {"x": "float[N, 2, 3, 4]", "z": "float[N, 2, 5, 4]"}
    ),
    "einsum over a free letter": free('y = Einsum<equation = "nc,nd->cd">(x, z)', {**ROWS, "z": "float[N, 3]"}),
    "einsum with free rows": free('y = Einsum<equation = "nmc,cd->nmd">(x, k)', BOTH, weights={"k": [4, 3]}),
    "gemm": free("y = Gemm<transB = 1>(x, z, c)", {**ROWS, "z": "float[3, 4]", "c": "float[3]"}),
    "gemm with a constant": free("y = Gemm<beta = 0.5>(x, k, c)", weights={"k": [4, 3], "c": [1, 3]}),
    "determinant": free("y = Det(x)", {"x": "float[N, 3, 3]"}),
    "transform": free("y = DFT(x, , a)", {"x": "float[N, 8, 1]"}, weights={"a": {"int64": 1}}, opset=20),
    "frames": free("y = STFT(x, s, v)", {"x": "float[N, 20, 1]"}, weights={"s": {"int64": 3}, "v": [7]}),
    "softmax written out": free(
        "e = Exp(x)\n s = ReduceSum(e, a)\n y = Div(e, s)", BOTH, weights={"a": {"int64": [2]}}
    ),
}
