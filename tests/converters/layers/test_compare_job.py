"""Two models side by side: damage done on purpose is found where it was done."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters._exchange import read_arrays, write_arrays
from edgekit_converters.errors import CalibrationError, ModelFileError
from edgekit_converters.jobs import JobRunner

Compare = Callable[..., dict[str, Any]]


@pytest.fixture
def compare(tmp_path: Path, jobs: JobRunner) -> Compare:
    def run(first: Path, second: Path, layers: bool = True, **arrays: Any) -> dict[str, Any]:
        request = {
            "source": str(first),
            "artifact": str(second),
            "data": write_arrays(tmp_path / "data.npz", arrays),
            "layers": layers,
            "work": str(tmp_path),
        }
        answer: dict[str, Any] = jobs.run("edgekit_converters.layers.compare_job", request)
        return answer

    return run


@pytest.fixture
def tiny(tiny_tflite: Callable[..., bytes], tmp_path: Path) -> Path:
    path = tmp_path / "tiny.tflite"
    path.write_bytes(tiny_tflite(free_batch=True))
    return path


@pytest.mark.parametrize(("weights", "layer"), [("filters", "features"), ("dense", "scores")])
def test_the_damaged_layer_alone_has_an_error_of_its_own(  # noqa: PLR0913, PLR0917  # fixtures
    compare: Compare,
    tiny: Path,
    damaged: Callable[..., bytes],
    rng: np.random.Generator,
    weights: str,
    layer: str,
) -> None:
    other = tiny.with_name("other.tflite")
    other.write_bytes(damaged(tiny.read_bytes(), weights, 3))
    rows = {row["layer"]: row for row in compare(tiny, other, x=_images(rng))["layers"]}
    assert rows[layer]["own_error"] > 0.01
    assert rows[layer]["damage"] > 0.01
    assert all(row["own_error"] < 1e-6 and row["damage"] < 1e-6 for name, row in rows.items() if name != layer)
    if layer == "features":  # what comes behind inherits
        assert rows["scores"]["error"] == pytest.approx(rows["features"]["damage"], rel=1e-3)


def test_figures_do_not_depend_on_how_samples_fall_into_batches(
    compare: Compare,
    tiny: Path,
    tiny_tflite: Callable[..., bytes],
    damaged: Callable[..., bytes],
    rng: np.random.Generator,
) -> None:
    one, other = tiny.with_name("one.tflite"), tiny.with_name("other.tflite")
    one.write_bytes(tiny_tflite())  # a batch of 1
    other.write_bytes(damaged(tiny.read_bytes(), "filters", 4))
    images = _images(rng, 11)
    whole, single = (compare(source, other, x=images)["layers"] for source in (tiny, one))
    for a, b in zip(whole, single, strict=True):
        for key in ("error", "own_error", "damage", "max_abs"):
            assert a[key] == pytest.approx(b[key], rel=1e-4, abs=1e-7), key


def test_outputs_are_those_of_the_models_as_they_are(compare: Compare, tiny: Path, rng: np.random.Generator) -> None:
    from ai_edge_litert.interpreter import Interpreter

    images = _images(rng, 3)
    answer = compare(tiny, tiny, layers=False, x=images)
    interpreter = Interpreter(model_path=str(tiny))
    interpreter.resize_tensor_input(interpreter.get_input_details()[0]["index"], images.shape)
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], images)
    interpreter.invoke()
    wanted = interpreter.get_tensor(interpreter.get_output_details()[0]["index"])
    for side in ("source", "artifact"):
        np.testing.assert_allclose(read_arrays(answer["outputs"][side])["scores"].astype(float), wanted, rtol=1e-6)
    assert answer["layers"] is None


def test_real_values_reach_a_quantized_input(compare: Compare, repository: Path, rng: np.random.Generator) -> None:
    models = repository / "tests/data/models"
    images = rng.random((6, 8, 8, 3)).astype(np.float32)
    rows = compare(models / "conv.tflite", models / "conv_int8.tflite", x=images)["layers"]
    assert [row["op"] for row in rows] == ["input", "CONV_2D", "RESHAPE", "FULLY_CONNECTED"]
    assert 0 < rows[0]["own_error"] < 0.01  # half a step of 8 bits
    assert all(row["error"] < 0.1 for row in rows)


def test_inputs_that_do_not_fit_are_named(compare: Compare, repository: Path, rng: np.random.Generator) -> None:
    models = repository / "tests/data/models"
    with pytest.raises(ModelFileError, match="inputs do not fit: 'image' is 1x8x8x3"):
        compare(models / "conv.tflite", models / "dense.tflite", x=rng.random((2, 8, 8, 3)).astype(np.float32))
    with pytest.raises(ModelFileError, match="inputs differ"):
        compare(models / "conv.tflite", models / "two.tflite", x=rng.random((2, 8, 8, 3)).astype(np.float32))


def test_data_that_does_not_fit_is_named(compare: Compare, repository: Path) -> None:
    conv = repository / "tests/data/models/conv.tflite"
    with pytest.raises(CalibrationError, match="has shape 2x7x8x3"):
        compare(conv, conv, x=np.zeros((2, 7, 8, 3), np.float32))


def _images(rng: np.random.Generator, count: int = 16) -> Any:
    return rng.normal(size=(count, 6, 6, 2)).astype(np.float32)


@pytest.mark.parametrize("axis", [1, -1])
def test_what_an_output_joins_counts_part_by_part(compare: Compare, tmp_path: Path, axis: int) -> None:
    """Scores that are wrong by half beside boxes a thousand times as large are damage, not rounding."""
    import onnx
    from onnx import helper, numpy_helper

    rng = np.random.default_rng(0)
    weights = {"s": rng.normal(size=(6, 3)), "b": 1000 * rng.normal(size=(6, 4))}

    def written(name: str, factor: float) -> Path:
        stored = {"s": factor * weights["s"], "b": weights["b"]}
        graph = helper.make_graph(
            [
                helper.make_node("MatMul", ["x", "s"], ["scores"], "scores"),
                helper.make_node("MatMul", ["x", "b"], ["boxes"], "boxes"),
                helper.make_node("Concat", ["scores", "boxes"], ["y"], "joined", axis=axis),
            ],
            "g",
            [helper.make_tensor_value_info("x", 1, ["n", 6])],
            [helper.make_tensor_value_info("y", 1, ["n", 7])],
            [numpy_helper.from_array(array.astype(np.float32), one) for one, array in stored.items()],
        )
        onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), tmp_path / name)
        return tmp_path / name

    samples = rng.normal(size=(9, 6)).astype(np.float32)
    rows = {row["layer"]: row for row in compare(written("a.onnx", 1.0), written("b.onnx", 0.5), x=samples)["layers"]}
    assert rows["scores"]["damage"] == pytest.approx(0.5, rel=1e-3)
    assert rows["boxes"]["damage"] < 1e-6
