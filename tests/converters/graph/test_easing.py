"""The job that makes a model easier to quantize, and what it says it did."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters.errors import CalibrationError, ModelFileError, PrecisionError
from edgekit_converters.graph.easing import ease
from edgekit_converters.graph.oracle import session
from edgekit_converters.jobs import JobRunner
from tests.converters import onnx_text

pytest.importorskip("onnx")

NET = """(float[N, 4] x) => (float[N, 5] y) {
    a = MatMul(x, w)  s = Add(a, b)  r = Relu(s)  c = Gemm(r, v)  y = Sigmoid(c) }"""


@pytest.fixture
def model(tmp_path: Path, rng: np.random.Generator) -> Path:
    weights = {
        "w": rng.normal(size=(4, 8)) * 10 ** np.linspace(-1, 1, 8),
        "b": np.ones(8),
        "v": rng.normal(size=(8, 5)),
    }
    return onnx_text.write(tmp_path / "net.onnx", NET, {name: one.astype(np.float32) for name, one in weights.items()})


@pytest.fixture
def samples(rng: np.random.Generator) -> dict[str, Any]:
    return {"x": rng.normal(size=(40, 4)).astype(np.float32)}


def test_both_passes_leave_a_model_with_the_same_rim_and_a_ledger(
    model: Path, samples: dict[str, Any], jobs: JobRunner, work: Path
) -> None:
    made = ease(model, samples, jobs, work, equalize=True, correct=True)
    channels, biases = made.steps
    assert channels.name == "equalize channels"
    assert (channels.before["pairs"], channels.after["scaled"], channels.after["left"]) == (1, 1, 1)
    assert float(str(channels.after["largest_spread"])) < float(str(channels.before["largest_spread"]))
    assert biases.name == "correct biases for linear weights"
    assert biases.after["corrected"] == 2
    assert made.notes == (
        "channels of 'c' are not equalized: op 'Sigmoid' (node 'y') between the layers does not keep a scale",
    )
    opened = session(made.path)
    assert [one.name for one in (*opened.get_inputs(), *opened.get_outputs())] == ["x", "y"]
    wanted = session(model).run(None, samples)[0]
    np.testing.assert_allclose(opened.run(None, samples)[0], wanted, atol=0.02)


def test_without_samples_the_weights_decide(model: Path, samples: dict[str, Any], jobs: JobRunner, work: Path) -> None:
    made = ease(model, None, jobs, work, equalize=True)
    wanted = session(model).run(None, samples)[0]
    np.testing.assert_array_equal(session(made.path).run(None, samples)[0], wanted)


def test_bad_requests_are_told(model: Path, samples: dict[str, Any], jobs: JobRunner, work: Path) -> None:
    with pytest.raises(CalibrationError, match="correcting biases needs calibration data"):
        ease(model, None, jobs, work, correct=True)
    with pytest.raises(CalibrationError, match="holds NaN"):
        ease(model, {"x": samples["x"] * np.float32(np.nan)}, jobs, work, equalize=True)
    with pytest.raises(CalibrationError, match="has shape"):
        ease(model, {"x": samples["x"][:, :2]}, jobs, work, equalize=True)
    with pytest.raises(PrecisionError, match="EdgeKit has no grid 'four'"):
        ease(model, samples, jobs, work, correct=True, grid="four")
    (work / "empty.onnx").touch()
    with pytest.raises(ModelFileError, match="is empty"):
        ease(work / "empty.onnx", samples, jobs, work, equalize=True)
