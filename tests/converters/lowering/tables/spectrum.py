"""Fourier transforms, against ONNX Runtime."""

from typing import Any

REAL, COMPLEX = "2, 12, 5, 1", "2, 12, 5, 2"
AXIS = {"a": {"int64": 1}}


def transform(attributes: str, shape: str, length: int | None = None, **more: Any) -> dict[str, Any]:
    """Return a DFT along axis 1."""
    weights = {"n": {"int64": length}} if length else {}
    return {
        "inputs": {"x": f"float[{shape}]"},
        "body": f"y = DFT{attributes}(x, {'n' if length else ''}, a)",
        "weights": {**AXIS, **weights},
        "opset": 20,
        **more,
    }


def frames(operands: str, shape: str, **weights: Any) -> dict[str, Any]:
    """Return an STFT."""
    return {
        "inputs": {"x": f"float[{shape}]"},
        "body": f"y = STFT{operands}",
        "weights": {"s": {"int64": 3}, **weights},
        "opset": 17,
    }


CASES: dict[str, dict[str, Any]] = {
    "real": transform("", REAL),
    "complex": transform("", COMPLEX),
    "one-sided": transform("<onesided = 1>", REAL),
    "one-sided of an odd length": transform("<onesided = 1>", "2, 7, 1"),
    "inverse": transform("<inverse = 1>", COMPLEX),
    "longer than the input": transform("", REAL, 16),
    "shorter than the input": transform("<onesided = 1>", REAL, 9),
    "inverse of half a spectrum, even": transform("<inverse = 1, onesided = 1>", "2, 7, 2", 12),
    "inverse of half a spectrum, odd": transform("<inverse = 1, onesided = 1>", "2, 7, 2", 13),
    "an axis that is computed from constants": {
        "inputs": {"x": "float[2, 5, 3, 1]"},
        "body": "m = Sub(one, three)\n a = Abs(m)\n y = DFT(x, , a)",
        "weights": {"one": {"int64": 1}, "three": {"int64": 3}},
        "opset": 20,
    },
    "opset 17": {"inputs": {"x": f"float[{REAL}]"}, "body": "y = DFT<axis = 2>(x)", "opset": 17},
    "frames of a length": frames("(x, s, , n)", "2, 20, 1", n={"int64": 8}),
    "frames of a window": frames("(x, s, v)", "2, 20, 1", v=[7]),
    "frames, both sides": frames("<onesided = 0>(x, s, v, n)", "1, 20, 1", v=[8], n={"int64": 8}),
}
REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "a long one": (transform("", "1, 4096, 2", inputs={"x": "float[1, 4096, 2]"}), "4194304 are the most"),
}
