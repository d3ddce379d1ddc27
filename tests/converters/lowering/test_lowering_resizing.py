"""Resizing, against ONNX Runtime."""

from collections.abc import Callable, Mapping
from typing import Any

import pytest

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
def test_what_cannot_be_had_is_refused(name: str, lowered: Callable[..., Mapping[str, Any]]) -> None:
    error = lowered(TABLE)[name]["error"]
    assert error.startswith(f"model '{name}': op '")
    assert REFUSED[name][1] in error
