"""Elementwise ops and activations, alone and on images a convolution has turned around, against ONNX Runtime."""

from collections.abc import Mapping
from typing import Any

POSITIVE = [0.1, 4]
TWO = {"x": "float[2, 4, 3, 5]", "z": "float[2, 4, 3, 5]"}
FLOATS = {"y": "float"}
TRUTHS = {"y": "bool"}
CONV = {"w": [4, 4, 1, 1]}


def unary(op: str, **more: Any) -> dict[str, Any]:
    """Return an op on a small image."""
    return {"inputs": {"x": "float[2, 4, 3, 5]"}, "body": f"y = {op}(x)", **more}


def after_conv(body: str, weights: Mapping[str, Any], **more: Any) -> dict[str, Any]:
    """Return ops on `c`, an image that is stored with channels last."""
    return {"body": f"c = Conv(x, w)\n {body}", "weights": {**CONV, **weights}, **more}


def mod(kind: str, attribute: str) -> dict[str, Any]:
    """Return a remainder of numbers on both sides of zero."""
    return {
        "inputs": {"x": f"{kind}[3, 4]", "z": f"{kind}[4]"},
        "body": f"a = Sub(x, k)\n b = Add(z, z)\n d = Sub(b, k)\n y = Mod{attribute}(a, d)",
        "weights": {"k": {kind: 3}},
        "outputs": {"y": kind},
        "opset": 18,
    }


CASES: dict[str, dict[str, Any]] = {
    **{
        op: unary(op)
        for op in (
            *("Relu", "LeakyRelu", "LeakyRelu<alpha = 0.3>", "Elu", "Elu<alpha = 0.5>", "Selu", "Celu<alpha = 2.0>"),
            *("Sigmoid", "Tanh", "HardSigmoid", "HardSigmoid<alpha = 0.3, beta = 0.4>", "Softplus", "Softsign", "Exp"),
            *("ThresholdedRelu<alpha = 1.5>", "Abs", "Neg", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Erf"),
            *("Identity", "Dropout", "Reciprocal", "Tan", "Atan", "Sinh", "Cosh", "Asinh"),
        )
    },
    **{f"{op}, opset 14 or later": unary(op, opset=18) for op in ("HardSwish", "Mish")},
    **{op: unary(op, range=POSITIVE) for op in ("Sqrt", "Log")},
    **{op: unary(op, range=[-1, 1]) for op in ("Asin", "Acos", "Atanh")},
    "Acosh": unary("Acosh", range=[1, 9]),
    **{f"{op} of large numbers": unary(op, range=[80, 89]) for op in ("Sinh", "Cosh", "Asinh", "Acosh", "Softplus")},
    "Mish of numbers far below 0": unary("Mish", range=[-30, -8], opset=18),
    "Gelu": unary("Gelu", opset=20),
    "Gelu with tanh": unary('Gelu<approximate = "tanh">', opset=20),
    "Clip without bounds": unary("Clip"),
    "Clip 0 to 6": unary(
        "Clip", body="y = Clip(x, a, b)", weights={"a": {"float": 0}, "b": {"float": 6}}, range=[-3, 9]
    ),
    "Clip -1 to 1": unary("Clip", body="y = Clip(x, a, b)", weights={"a": {"float": -1}, "b": {"float": 1}}),
    "Clip 0 to 1": unary("Clip", body="y = Clip(x, a, b)", weights={"a": {"float": 0}, "b": {"float": 1}}),
    "Clip only below": unary("Clip", body="y = Clip(x, a)", weights={"a": {"float": -0.7}}),
    "Clip only above": unary("Clip", body="y = Clip(x, , b)", weights={"b": {"float": 0.7}}),
    "Clip, bounds the wrong way round": unary(
        "Clip", body="y = Clip(x, a, b)", weights={"a": {"float": 2}, "b": {"float": -1}}
    ),
    "Clip, opset 6": unary("Clip<min = -0.5, max = 1.5>", opset=9),
    "Clip of integers": {
        "inputs": {"x": "int32[3, 4]"},
        "body": "y = Clip(x, a, b)",
        "weights": {"a": {"int32": 1}, "b": {"int32": 2}},
        "outputs": {"y": "int32"},
    },
    "PRelu, one slope": unary("PRelu", body="y = PRelu(x, s)", weights={"s": {"float": [0.2]}}),
    "PRelu, one a channel": unary("PRelu", body="y = PRelu(x, s)", weights={"s": [4, 1, 1]}),
    "PRelu after a convolution": after_conv("y = PRelu(c, s)", {"s": [4, 1, 1]}),
    "PRelu, one a value": unary("PRelu", body="y = PRelu(x, s)", weights={"s": [4, 3, 5]}),
    **{op: {"inputs": TWO, "body": f"y = {op}(x, z)"} for op in ("Add", "Sub", "Mul", "Div", "Max", "Min")},
    "Pow": {"inputs": TWO, "body": "y = Pow(x, z)", "range": POSITIVE},
    "Pow 2 of values below 0": unary("Pow", body="y = Pow(x, e)", weights={"e": {"float": 2}}),
    "Pow 3 of values below 0": unary("Pow", body="y = Pow(x, e)", weights={"e": {"float": [3]}}),
    "Pow 0.5": unary("Pow", body="y = Pow(x, e)", weights={"e": {"float": 0.5}}, range=POSITIVE),
    "Sum of three": {"inputs": {**TWO, "a": "float[5]"}, "body": "y = Sum(x, a, z)"},
    "Max of three, with a constant": {
        "inputs": TWO,
        "body": "y = Max(x, k, z)",
        "weights": {"k": {"float": 0.25}},
    },
    "Max of one": unary("Max"),
    **{
        f"{op} of integers": {
            "inputs": {"x": "int32[3, 4]", "z": "int32[4]"},
            "body": f"y = {op}(x, z)",
            "outputs": {"y": "int32"},
        }
        for op in ("Add", "Sub", "Mul", "Max", "Min")
    },
    **{
        op: {"inputs": TWO, "body": f"t = {op}(x, z)\n y = Cast<to = 1>(t)"}
        for op in ("Greater", "Less", "GreaterOrEqual", "LessOrEqual", "Equal")
    },
    "a truth goes out": {"inputs": TWO, "body": "y = Greater(x, z)", "outputs": TRUTHS},
    "Equal of integers, Not, And, Or, Xor": {
        "inputs": {"x": "int32[3, 4]", "z": "int32[4]"},
        "body": "a = Equal(x, z)\n b = Greater(x, z)\n c = Not(a)\n d = And(c, b)\n e = Xor(d, a)\n y = Or(e, b)",
        "outputs": TRUTHS,
    },
    "Where": {"inputs": TWO, "body": "c = Greater(x, z)\n y = Where(c, x, k)", "weights": {"k": [4, 1, 1]}},
    "Where after a convolution": after_conv(
        "m = Greater(c, k)\n y = Where(m, c, o)", {"k": {"float": 0}, "o": [1, 4, 1, 1]}
    ),
    "Cast to whole numbers and back": unary("Cast", body="a = Cast<to = 6>(x)\n y = Cast<to = 1>(a)"),
    "Cast of an integer input": {"inputs": {"x": "int64[2, 3]"}, "body": "y = Cast<to = 1>(x)"},
    "CastLike": {
        "inputs": {"x": "int32[2, 3]", "z": "float[2]"},
        "body": "a = CastLike(x, z)\n b = ReduceSum(z)\n y = Add(a, b)",
        "opset": 15,
    },
    "a number plus a number": {"inputs": {"x": "float[]", "z": "float[1, 1]"}, "body": "y = Add(x, z)"},
    "one value for a whole image": {"inputs": {"x": "float[1, 1]", "z": "float[2, 3, 4, 5]"}, "body": "y = Mul(x, z)"},
    "vector and image": {"inputs": {"x": "float[5]", "z": "float[2, 3, 4, 5]"}, "body": "y = Sub(x, z)"},
    "both grow": {"inputs": {"x": "float[4, 1, 5]", "z": "float[2, 1, 3, 1]"}, "body": "y = Add(x, z)"},
    "a column after a convolution": after_conv("y = Add(c, k)", {"k": [8, 1]}),
    "a row after a convolution": after_conv("y = Mul(c, k)", {"k": [9]}),
    "a channel after a convolution": after_conv("y = Div(c, k)", {"k": {"float": [[[1]], [[2]], [[4]], [[8]]]}}),
    "a constant minus a convolution": after_conv("y = Sub(k, c)", {"k": [1, 4, 1, 1]}),
    "a constant image larger than the value": {
        "inputs": {"x": "float[1, 4, 1, 1]"},
        "body": "c = Conv(x, w)\n y = Add(c, k)",
        "weights": {**CONV, "k": [1, 4, 5, 6]},
    },
    "image input and convolution": after_conv("y = Add(c, x)", {}),
    "an input vector and a convolution": {
        "inputs": {"x": "float[1, 4, 8, 9]", "z": "float[4, 1, 1]"},
        "body": "c = Conv(x, w)\n y = Mul(c, z)",
        "weights": CONV,
    },
    "a convolution with itself": after_conv("y = Mul(c, c)", {}),
    "hard-swish, and a rank that grows by a number": {
        "inputs": {"x": "float[2, 3]"},
        "body": "a = HardSigmoid<alpha = 0.16666667>(x)\n b = Mul(x, a)\n y = Mul(b, k)",
        "weights": {"k": {"float": [[[[1.0]]]]}},
    },
    "PRelu with a slope from an input": {
        "inputs": {"x": "float[1, 4, 8, 9]", "s": "float[4, 1, 1]"},
        "body": "c = Conv(x, w)\n y = PRelu(c, s)",
        "weights": CONV,
    },
    "PRelu with a slope for each sample": {
        "inputs": {"x": "float[3, 2]"},
        "body": "y = PRelu(x, s)",
        "weights": {"s": [3, 1]},
    },
    "Clip with bounds of run time": {
        "inputs": {"x": "float[1, 4, 8, 9]", "a": "float[]", "b": "float[1]"},
        "body": "c = Conv(x, w)\n h = Squeeze(b)\n y = Clip(c, a, h)",
        "weights": CONV,
    },
    "Clip of int64": {
        "inputs": {"x": "int64[5]"},
        "body": "y = Clip(x, a, b)",
        "weights": {"a": {"int64": 1}, "b": {"int64": 2**60 + 1}},
        "outputs": {"y": "int64"},
    },
    **{
        f"{op} of small integers": {
            "inputs": {"x": "int8[3, 4]", "z": "int8[4]"},
            "body": f"y = {op}(x, z)",
            "outputs": {"y": "int8"},
            "opset": 14,
        }
        for op in ("Add", "Sub", "Mul", "Max", "Min")
    },
    "Less of small integers": {
        "inputs": {"x": "uint8[3, 4]", "z": "uint8[4]"},
        "body": "y = Less(x, z)",
        "outputs": TRUTHS,
    },
    "Mean of three, one of them a row": {"inputs": {**TWO, "a": "float[5]"}, "body": "y = Mean(x, a, z)"},
    **{f"Mod like C's, {kind}": mod(kind, "<fmod = 1>") for kind in ("float", "int32", "int64")},
    **{f"Mod with the divisor's sign, {kind}": mod(kind, "") for kind in ("int32", "int64")},
    "Pow of integers and floats": {
        "inputs": {"x": "int32[4]", "z": "float[3, 1]"},
        "body": "y = Pow(x, z)",
        "outputs": {"y": "int32"},
        "range": [0, 3],
    },
    "Pow of floats and int64": {"inputs": {"x": "float[4]", "z": "int64[3, 1]"}, "body": "y = Pow(x, z)"},
    "Pow 3 of int64": {
        "inputs": {"x": "int64[4]"},
        "body": "y = Pow(x, e)",
        "weights": {"e": {"int64": 3}},
        "outputs": {"y": "int64"},
    },
    "Pow -1 after a convolution": after_conv("y = Pow(c, e)", {"e": {"float": -1}}),
    **{
        f"{op} in five dimensions": {
            "inputs": {"x": "float[2, 3, 1, 4, 5]", "z": "float[1, 3, 2, 4, 1]"},
            "body": f"t = {op}(x, z)\n y = Cast<to = 1>(t)",
            "opset": 18,
        }
        for op in ("Less", "Max", "Mod<fmod = 1>", "PRelu")
    },
    "Where in six dimensions": {
        "inputs": {"x": "float[2, 1, 2, 1, 3, 1]", "z": "float[1, 2, 1, 2, 1, 3]"},
        "body": "c = Less(x, z)\n y = Where(c, x, k)",
        "weights": {"k": {"float": 0.5}},
    },
    "Shrink": unary("Shrink<lambd = 1.5, bias = 0.5>"),
    "Swish with a factor": {"inputs": TWO, "body": "y = Swish<alpha = 0.7>(x)\n", "opset": 24},
    "Hardmax over channels after a convolution": after_conv("y = Hardmax<axis = 1>(c)", {}),
    "Hardmax, opset 11": unary("Hardmax<axis = 1>", opset=11),
    "five dimensions": {"inputs": {"x": "float[1, 2, 3, 2, 2]", "z": "float[3, 1, 2]"}, "body": "y = Add(x, z)"},
}
for _name in ("Round", "Floor", "Ceil"):
    CASES[f"{_name} of halves"] = {
        "inputs": {"x": "float[1]"},
        "body": f"h = Add(k, x)\n z = Sub(h, x)\n y = {_name}(z)",
        "weights": {"k": {"float": [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 0.3]}},
        "range": [16, 16],
    }
for _name, _body in {
    "NaN is found": "y = IsNaN(v)",
    "infinities are found": "y = IsInf(v)",
    "only the infinity above is found": "y = IsInf<detect_negative = 0>(v)",
    "only the infinity below is found": "y = IsInf<detect_positive = 0>(v)",
}.items():
    CASES[_name] = {
        "inputs": {"x": "float[4]"},
        "body": f"v = Div(x, k)\n {_body}",
        "weights": {"k": {"float": [0, -1, 2, 0]}},
        "outputs": TRUTHS,
        "range": [1, 2],
    }
_LARGE = [2**62 + 12345, -(2**62) - 7, 2**53 + 1, -(2**31) - 1, 999_999_999_999, 100, -100, 7, -7, 0]
for _divisor in (1, -1, 3, -7, 1000, 2**31 + 11, -(2**40) + 1, 2**62):
    CASES[f"quotient of int64 by {_divisor}"] = {
        "inputs": {"x": "int64[10]"},
        "body": "y = Div(x, k)",
        "weights": {"k": {"int64": _divisor}},
        "feeds": {"x": _LARGE},
        "outputs": {"y": "int64"},
    }
_BITS = {
    "x": [0, 1, -1, 2**31 - 1, -(2**31), 0x55AA55AA, -77],
    "z": [3, -2, 2**31 - 1, -(2**31), -1, 0x0FF0F00F, 1 << 17],
}
for _op in ("BitwiseAnd", "BitwiseOr", "BitwiseXor"):
    CASES[f"{_op} of int32"] = {
        "inputs": {"x": "int32[7]", "z": "int32[7]"},
        "body": f"y = {_op}(x, z)",
        "feeds": _BITS,
        "outputs": {"y": "int32"},
        "opset": 18,
    }
    CASES[f"{_op} of uint8"] = {
        "inputs": {"x": "uint8[3, 4]", "z": "uint8[4]"},
        "body": f"y = {_op}(x, z)",
        "outputs": {"y": "uint8"},
        "opset": 18,
    }
for _kind in ("int32", "int64", "int8", "uint8"):
    CASES[f"BitwiseNot of {_kind}"] = {
        "inputs": {"x": f"{_kind}[7]"},
        "body": "y = BitwiseNot(x)",
        "outputs": {"y": _kind},
        "opset": 18,
    }
for _direction in ("LEFT", "RIGHT"):
    CASES[f"BitShift to the {_direction}"] = {
        "inputs": {"x": "uint8[5]", "z": "uint8[5]"},
        "body": f'y = BitShift<direction = "{_direction}">(x, z)',
        "feeds": {"x": [255, 129, 77, 200, 1], "z": [1, 7, 0, 3, 200]},
        "outputs": {"y": "uint8"},
    }
for _op in ("Abs", "Neg", "Sign"):
    for _kind in ("int32", "int64", "int8"):
        CASES[f"{_op} of {_kind}"] = {
            "inputs": {"x": f"{_kind}[5]"},
            "body": f"a = Sub(x, k)\n y = {_op}(a)",
            "weights": {"k": {_kind: 2}},
            "outputs": {"y": _kind},
            "opset": 14,
        }
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a power of int64": (
        {"inputs": {"x": "int64[3]", "z": "int64[3]"}, "body": "y = Pow(x, z)", "outputs": {"y": "int64"}},
        "TFLite has no power of int64",
    ),
    **{
        f"chance in {op}": (unary(op, body=f"r = {op}(x)\n y = Add(x, r)", opset=15), f"'{op}'")
        for op in ("RandomNormalLike", "RandomUniformLike", "Bernoulli")
    },
    "16-bit floats": (
        {"inputs": {"x": "float16[3]"}, "body": "y = Relu(x)", "outputs": {"y": "float16"}},
        "input 'x' has dtype float16",
    ),
    "64-bit floats": ({"inputs": {"x": "double[3]"}, "body": "y = Exp(x)", "outputs": {"y": "double"}}, "'tfl.exp'"),
}
