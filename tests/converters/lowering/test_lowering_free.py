"""Free dimensions stay free: the same file is right with sizes that it was not made with."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.jobs import JobRunner

pytestmark = pytest.mark.slow
IMAGES = {"x": "float[N, 4, 12, 10]"}
WORDS = {"x": "float[N, L, 8]"}
DEFAULTS = {"outputs": {"y": "float"}, "weights": {}, "opset": 17}
CASES: dict[str, dict[str, Any]] = {
    "a convolution, a pool, a dense layer": {
        "inputs": IMAGES,
        "body": "c = Conv<pads = [1, 1, 1, 1], strides = [2, 2]>(x, k)\n r = Relu(c)\n p = GlobalAveragePool(r)\n"
        " f = Flatten(p)\n y = Gemm(f, w, b)",
        "weights": {"k": [6, 4, 3, 3], "w": [6, 5], "b": [5]},
        "shapes": [None, 5],
        "never": {"SHAPE"},
    },
    "flattened behind a convolution": {
        "inputs": IMAGES,
        "body": "c = Conv(x, k)\n f = Flatten(c)\n y = MatMul(f, w)",
        "weights": {"k": [2, 4, 3, 3], "w": [160, 3]},
        "shapes": [None, 3],
        "never": {"SHAPE"},
    },
    "an image of any size": {
        "inputs": {"x": "float[N, 3, H, W]"},
        "body": "c = Conv<pads = [1, 1, 1, 1]>(x, k)\n p = MaxPool<kernel_shape = [2, 2], strides = [2, 2]>(c)\n"
        " t = ConvTranspose<strides = [2, 2]>(p, u)\n y = Sigmoid(t)",
        "weights": {"k": [4, 3, 3, 3], "u": [4, 2, 2, 2]},
        "shapes": [None, 2, None, None],
    },
    "heads of attention": {
        "inputs": WORDS,
        "body": "q = MatMul(x, a)\n s = Shape(x)\n n = Gather(s, zero)\n l = Gather(s, one)\n"
        " nn = Unsqueeze(n, axes)\n ll = Unsqueeze(l, axes)\n t = Concat<axis = 0>(nn, ll, heads)\n"
        " h = Reshape(q, t)\n v = Transpose<perm = [0, 2, 1, 3]>(h)\n k = Transpose<perm = [0, 2, 3, 1]>(h)\n"
        " m = MatMul(v, k)\n p = Softmax<axis = -1>(m)\n o = MatMul(p, v)\n z = Transpose<perm = [0, 2, 1, 3]>(o)\n"
        " back = Concat<axis = 0>(nn, ll, width)\n y = Reshape(z, back)",
        "weights": {
            "a": [8, 8],
            "zero": {"int64": 0},
            "one": {"int64": 1},
            "axes": {"int64": [0]},
            "heads": {"int64": [2, 4]},
            "width": {"int64": [8]},
        },
        "shapes": [None, None, 8],
    },
    "places in a sentence": {
        "inputs": {"x": "int64[N, L]"},
        "body": "s = Shape(x)\n l = Gather(s, one)\n r = Range(zero, l, one)\n e = Gather(w, x)\n p = Gather(w, r)\n"
        " y = Add(e, p)",
        "weights": {"w": [40, 6], "zero": {"int64": 0}, "one": {"int64": 1}},
        "shapes": [None, None, 6],
    },
    "a mask that is spread": {
        "inputs": {"x": "float[N, L, 8]", "m": "int64[N, L]"},
        "body": "f = Cast<to = 1>(m)\n u = Unsqueeze(f, axes)\n s = Shape(x)\n e = Expand(u, s)\n y = Mul(x, e)",
        "weights": {"axes": {"int64": [2]}},
        "shapes": [None, None, 8],
    },
    "the last word": {
        "inputs": WORDS,
        "body": "y = Slice(x, minus, end, axes)",
        "weights": {"minus": {"int64": [-1]}, "end": {"int64": [9223372036854775807]}, "axes": {"int64": [1]}},
        "shapes": [None, 1, 8],
    },
    "all but the first word": {
        "inputs": WORDS,
        "body": "y = Slice(x, start, end, axes)",
        "weights": {"start": {"int64": [1]}, "end": {"int64": [9223372036854775807]}, "axes": {"int64": [1]}},
        "shapes": [None, None, 8],
    },
    "the mean of the words": {
        "inputs": WORDS,
        "body": "a = ReduceMean<axes = [1]>(x)\n n = LayerNormalization<axis = -1>(a, s, o)\n y = Squeeze(n, axes)",
        "weights": {"s": [8], "o": [8], "axes": {"int64": [1]}},
        "shapes": [None, 8],
    },
    "joined with zeros of its own length": {
        "inputs": WORDS,
        "body": "s = Shape(x)\n z = ConstantOfShape(s)\n y = Concat<axis = 2>(x, z)",
        "shapes": [None, None, 16],
    },
    "a share of the length": {
        "inputs": WORDS,
        "body": "s = Shape(x)\n l = Gather(s, one)\n f = Cast<to = 1>(l)\n t = ReduceSum<keepdims = 0>(x, axes)\n"
        " y = Div(t, f)",
        "weights": {"one": {"int64": 1}, "axes": {"int64": [1]}},
        "shapes": [None, 8],
    },
    "samples of an image": {
        "inputs": {"x": "float[N, 3, 6, 5]", "g": "float[N, 4, 7, 2]"},
        "body": "c = Conv<pads = [1, 1, 1, 1]>(x, k)\n y = GridSample<align_corners = 0>(c, g)",
        "weights": {"k": [4, 3, 3, 3]},
        "shapes": [None, 4, 4, 7],
    },
    "a deformed convolution": {
        "inputs": {"x": "float[N, 4, 6, 5]"},
        "body": "o = Conv(x, k)\n y = DeformConv<group = 1>(x, w, o)",
        "weights": {"k": [8, 4, 2, 2], "w": [3, 4, 2, 2]},
        "opset": 19,
        "shapes": [None, 3, 5, 4],
    },
    "columns of an image": {
        "inputs": {"x": "float[N, 18, 25]"},
        "body": "y = Col2Im(x, s, k)",
        "weights": {"s": {"int64": [6, 7]}, "k": {"int64": [2, 3]}},
        "opset": 18,
        "shapes": [None, 3, 6, 7],
    },
    "as many regions as there are": {
        "inputs": {"x": "float[1, 3, 9, 12]", "r": "float[N, 4]", "i": "int64[N]"},
        "body": "z = Mul(i, zero)\n y = RoiAlign<output_height = 2, output_width = 3, sampling_ratio = 2>(x, r, z)",
        "weights": {"zero": {"int64": 0}},
        "shapes": [None, 3, 2, 3],
    },
    "rows and words in one axis": {
        "inputs": WORDS,
        "body": "r = Reshape(x, flat)\n m = MatMul(r, w)\n s = Shape(x)\n y = Reshape(m, s)",
        "weights": {"flat": {"int64": [-1, 8]}, "w": [8, 8]},
        "shapes": [None, None, 8],
    },
}


@pytest.fixture(scope="module")
def answers(tmp_path_factory: pytest.TempPathFactory) -> Mapping[str, Any]:
    """Return every case's answer, from one child process."""
    folder = tmp_path_factory.mktemp("free")
    paths = [str(Path(__file__).parent), *filter(None, [os.environ.get("PYTHONPATH")])]
    jobs = JobRunner(log=folder / "log", environment={"PYTHONPATH": os.pathsep.join(paths)})
    cases = {
        name: {**DEFAULTS, **{key: value for key, value in case.items() if key not in {"shapes", "never"}}}
        for name, case in CASES.items()
    }
    found: dict[str, Any] = jobs.run("free_cases", {"cases": cases})
    return found


@pytest.mark.parametrize("name", CASES)
def test_other_sizes_give_what_onnx_runtime_gives(name: str, answers: Mapping[str, Any]) -> None:
    answer = answers[name]
    assert "error" not in answer, answer["error"]
    assert answer["max_abs"] <= 2e-5
    assert answer["shapes"]["y"] == CASES[name]["shapes"]
    assert not CASES[name].get("never", set()).intersection(answer["ops"])
