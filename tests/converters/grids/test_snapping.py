"""Models whose weights are snapped to a grid."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.errors import ModelFileError, PrecisionError, UnsupportedError
from edgekit_converters.grids import grid_of, parse_grid, sharing_of
from edgekit_converters.grids.fitting import fit
from edgekit_converters.grids.snapping import snapped
from edgekit_converters.jobs import JobRunner
from tests.converters import onnx_text

onnx = pytest.importorskip("onnx")

NET = """(int64[N] ids, float[N, 4, 8] x) => (float[N, 6] y) {
    rows = Gather(table, ids)
    words = Unsqueeze(rows, one)
    c = Conv<pads = [1, 1]>(x, conv, bias)
    mixed = Add(c, words)
    flat = Flatten(mixed)
    left = Gemm<transB = 1>(flat, gemm)
    means = ReduceMean<keepdims = 0>(mixed, one)
    right = MatMul(means, dense)
    y = Add(left, right) }"""

AXES = {"table": 0, "conv": 0, "dense": 1, "gemm": 0}


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, dict[str, Any]]:
    shapes = {"table": (5, 8), "conv": (4, 4, 3), "bias": (4,), "dense": (8, 6), "gemm": (6, 32)}
    weights = {name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()}
    return onnx_text.write(tmp_path / "net.onnx", NET, {**weights, "one": np.array([1])}), weights


@pytest.mark.parametrize("grid", ["linear:bits=4", "kmeans:bits=2", "log:bits=3,per=channel", "nf4"])
def test_the_weights_of_layers_are_on_the_grid_and_all_else_stays(
    grid: str, model: tuple[Path, dict[str, Any]], jobs: JobRunner, work: Path
) -> None:
    path, arrays = model
    made = snapped(path, grid, jobs, work)
    figures = made.figures
    asked = parse_grid(grid)
    after = {one.name: onnx.numpy_helper.to_array(one) for one in onnx.load(made.path).graph.initializer}
    bits = 0
    for name, axis in AXES.items():
        one = fit(grid_of(asked), arrays[name], axis, sharing_of(asked))
        np.testing.assert_array_equal(after[name], one.snap(arrays[name]).astype(np.float32), err_msg=name)
        bits += one.stored_bits
    np.testing.assert_array_equal(after["bias"], arrays["bias"])
    assert figures.stored_bytes == -(-bits // 8)
    assert figures.source_bytes == 4 * sum(arrays[name].size for name in AXES)
    assert figures.rest_bytes == 4 * 4 + 8
    assert (figures.kind, figures.layers, figures.grid) == ("numeric-sim", 4, asked.text)
    assert figures.snr_db is not None
    assert figures.worst_snr_db is not None
    assert figures.worst_snr_db <= figures.snr_db


def test_weights_behind_a_transpose_count_and_shared_ones_count_once(
    jobs: JobRunner, work: Path, rng: np.random.Generator
) -> None:
    text = "(float[2, 2] x) => (float[2, 2] y) { t = Transpose(w)  a = MatMul(x, t)  y = MatMul(a, t) }"
    weights = {"w": rng.normal(size=(2, 2)).astype(np.float32)}
    figures = snapped(onnx_text.write(work / "m.onnx", text, weights), "linear:bits=2", jobs, work).figures
    assert figures.layers == 1
    assert figures.source_bytes == 16


@pytest.mark.parametrize(
    ("formula", "why"),
    [
        ("Add(x, w)", "model 'm.onnx' has no weights a grid is for"),
        ("MatMul(x, w)", "its weight 'w' holds values that are no numbers"),
    ],
)
def test_a_model_without_numbers_to_snap_is_refused(formula: str, why: str, jobs: JobRunner, work: Path) -> None:
    weights = {"w": np.array([[1, 2], [np.nan, 3]], np.float32)}
    path = onnx_text.write(work / "m.onnx", f"(float[2, 2] x) => (float[2, 2] y) {{ y = {formula} }}", weights)
    with pytest.raises(UnsupportedError, match=why):
        snapped(path, "linear", jobs, work)


def test_a_source_without_an_onnx_form_is_refused(
    tiny_tflite: Callable[..., bytes], jobs: JobRunner, work: Path
) -> None:
    (work / "tiny.tflite").write_bytes(tiny_tflite())
    with pytest.raises(UnsupportedError, match="has no way to ONNX"):
        snapped(work / "tiny.tflite", "linear", jobs, work)


def test_a_wrong_grid_is_told_before_the_model_is_read(jobs: JobRunner, work: Path) -> None:
    with pytest.raises(PrecisionError, match="EdgeKit has no grid 'int3'"):
        snapped(work / "missing.onnx", "int3", jobs, work)
    with pytest.raises(ModelFileError, match="missing"):
        snapped(work / "missing.onnx", "linear", jobs, work)
