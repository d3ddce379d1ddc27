"""What the compiler or an older runtime is known to convert without a word and wrong: each pattern is right here."""

import os
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

IMAGE = {"x": "float[1, 3, 5, 6]"}
KERNELS = {"w": [3, 4, 3, 3], "b": [4]}


def uneven(kernel: int, attributes: str) -> dict[str, Any]:
    """Return a transposed convolution whose pads are not the same on both sides."""
    weights = {"w": [3, 4, kernel, kernel], "b": [4]}
    return {"inputs": IMAGE, "weights": weights, "body": f"y = ConvTranspose<{attributes}>(x, w, b)"}


CASES: dict[str, dict[str, Any]] = {
    # `convolution` with a reversed window: the flag is ignored
    "transposed, a kernel that is not its own mirror": {
        "inputs": IMAGE,
        "weights": KERNELS,
        "body": "y = ConvTranspose<strides = [1, 1]>(x, w, b)",
    },
    "transposed in two groups, a kernel that is not its own mirror": {
        "inputs": {"x": "float[1, 4, 5, 6]"},
        "weights": {"w": [4, 3, 3, 3]},
        "body": "y = ConvTranspose<group = 2, strides = [2, 2]>(x, w)",
    },
    # transposed convolution with uneven pads: values, and the shape, are wrong
    "k3 s2 p1 op1": uneven(3, "strides = [2, 2], pads = [1, 1, 1, 1], output_padding = [1, 1]"),
    "k5 s2 p2 op1": uneven(5, "strides = [2, 2], pads = [2, 2, 2, 2], output_padding = [1, 1]"),
    "k3 s2 p1": uneven(3, "strides = [2, 2], pads = [1, 1, 1, 1]"),
    "k2 s2 op1": uneven(2, "strides = [2, 2], output_padding = [1, 1]"),
    "k3 s3 p1 op2": uneven(3, "strides = [3, 3], pads = [1, 1, 1, 1], output_padding = [2, 2]"),
    "k4 s2, pads of 2 before and 1 behind": uneven(4, "strides = [2, 2], pads = [2, 2, 1, 1]"),
    # the sign of a float remainder
    "Mod of floats below zero": {
        "inputs": {"x": "float[4, 6]", "z": "float[4, 6]"},
        "body": "y = Mod<fmod = 1>(x, z)",
        "range": [-7, 7],
    },
    "Mod of whole numbers below zero": {
        "inputs": {"x": "int64[3, 4]", "z": "int64[3, 4]"},
        "outputs": {"y": "int64"},
        "body": "a = Sub(x, two)\n b = Sub(z, five)\n y = Mod(a, b)",
        "weights": {"two": {"int64": 2}, "five": {"int64": 5}},
    },
    # minus infinity in a pad or a mask becomes the lowest number
    "Pad with minus infinity": {
        "inputs": {"x": "float[2, 3]"},
        "body": "y = Pad(x, p, v)",
        "weights": {"p": {"int64": [0, 1, 1, 0]}, "v": {"float": -float("inf")}},
    },
    "Where with minus infinity, seen": {
        "inputs": {"x": "float[2, 6]", "m": "bool[2, 6]"},
        "body": "y = Where(m, x, v)",
        "weights": {"v": {"float": -float("inf")}},
    },
    # which bound is taken where the lower lies above the upper
    "Clip to bounds that cross": {
        "inputs": {"x": "float[4, 5]"},
        "body": "y = Clip(x, lo, hi)",
        "weights": {"lo": {"float": 1.5}, "hi": {"float": -0.5}},
    },
    "Clip to bounds of run time that cross": {
        "inputs": {"x": "float[4, 5]", "lo": "float[]", "hi": "float[]"},
        "body": "y = Clip(x, lo, hi)",
        "feeds": {"lo": 1.5, "hi": -0.5},
    },
    # initial values of a reduction that are not exactly infinite
    "the largest of numbers that are all infinite": {
        "inputs": {"x": "float[3, 4]"},
        "body": "a = Where(m, x, v)\n y = ReduceMax<axes = [1], keepdims = 0>(a)",
        "weights": {
            "m": {"bool": [[False] * 4, [True] * 4, [False, True, True, True]]},
            "v": {"float": -float("inf")},
        },
    },
}
MIRRORED = {
    "inputs": {"x": "float[2, 3, 4]"},
    "body": "y = Slice(x, starts, ends, axes, steps)",
    "weights": {
        "starts": {"int64": [-1, -1]},
        "ends": {"int64": [-100, -100]},
        "axes": {"int64": [1, 2]},
        "steps": {"int64": [-1, -1]},
    },
}
ON_DEVICE = """
import sys, numpy
from tflite_runtime.interpreter import Interpreter
one = Interpreter(sys.argv[1])
one.allocate_tensors()
one.set_tensor(one.get_input_details()[0]["index"], numpy.load(sys.argv[2]))
one.invoke()
numpy.save(sys.argv[3], one.get_tensor(one.get_output_details()[0]["index"]))
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_a_known_silent_error_of_the_compiler_is_right(
    name: str, lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None]
) -> None:
    proven(lowered(CASES)[name])


@pytest.mark.slow
def test_two_mirrored_axes_are_right_on_tflite_runtime_too(
    lowered: Callable[..., Mapping[str, Any]], proven: Callable[..., None], tmp_path: Path
) -> None:
    python = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    if not python:
        pytest.skip("needs the device's environment: set EDGEKIT_DEVICE_PYTHON (make setup)")
    model, given, got = (tmp_path / name for name in ("m.tflite", "x.npy", "y.npy"))
    proven(lowered({"mirrored": {**MIRRORED, "keep": str(model)}})["mirrored"])
    x = np.arange(24, dtype=np.float32).reshape(2, 3, 4)
    np.save(given, x)
    subprocess.run([python, "-c", ON_DEVICE, str(model), str(given), str(got)], check=True)
    np.testing.assert_array_equal(np.load(got), x[:, ::-1, ::-1])
