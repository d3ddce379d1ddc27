"""`edgekit evaluate --weights-grid`: a source model's weights on a grid, scored beside float."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from edgekit._evaluate import evaluate
from edgekit.cli.main import app
from edgekit_converters.errors import PrecisionError, UnsupportedError
from tests.converters import onnx_text


@pytest.fixture
def labelled(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """A linear classifier and samples labelled by it."""
    weights = {"w": rng.normal(size=(16, 5)).astype(np.float32)}
    model = onnx_text.write(tmp_path / "net.onnx", "(float[N, 16] x) => (float[N, 5] y) { y = MatMul(x, w) }", weights)
    x = rng.normal(size=(200, 16)).astype(np.float32)
    np.savez(tmp_path / "test.npz", x=x, y=(x @ weights["w"]).argmax(axis=1))
    return model, tmp_path / "test.npz"


def test_more_bits_score_better_and_the_source_scores_beside(labelled: tuple[Path, Path]) -> None:
    model, data = labelled
    coarse = evaluate(model, str(data), weights_grid="linear:bits=2,per=tensor")
    fine = evaluate(model, str(data), weights_grid="linear")
    assert coarse.accuracy.source == fine.accuracy.source == 1.0
    assert coarse.accuracy.artifact < fine.accuracy.artifact
    assert fine.simulated is not None
    assert fine.simulated.stored_bytes == 16 * 5 + 5 * 4
    assert fine.measured is None


def test_the_command_prints_the_figures(labelled: tuple[Path, Path]) -> None:
    model, data = labelled
    asked = ["evaluate", str(model), "--data", str(data), "--weights-grid", "kmeans:bits=3", "--progress", "off"]
    shown = CliRunner().invoke(app, asked)
    assert shown.exit_code == 0, shown.output
    assert "100.00% in float" in shown.stdout
    assert "numeric-sim kmeans:bits=3: weights of 1 layers in 62 bytes, 5.2x smaller, SNR" in shown.stdout
    document = json.loads(CliRunner().invoke(app, [*asked, "--json"]).stdout)
    assert document["simulated"]["kind"] == "numeric-sim"
    assert document["simulated"]["stored_bytes"] == (80 * 3 + 8 * 32) // 8
    assert document["latency"] is None


def test_without_a_grid_nothing_is_simulated(labelled: tuple[Path, Path]) -> None:
    model, data = labelled
    score = evaluate(model, str(data))
    assert score.simulated is None
    assert score.to_json()["simulated"] is None


def test_a_wrong_grid_is_told_before_anything_is_read() -> None:
    with pytest.raises(PrecisionError, match="EdgeKit has no grid 'int4': it has linear"):
        evaluate(Path("missing.onnx"), "missing.npz", weights_grid="int4")


def test_an_artifact_has_no_weights_to_snap(labelled: tuple[Path, Path], tmp_path: Path) -> None:
    (tmp_path / "net.tflite").write_bytes(b"\x18\0\0\0TFL3" + bytes(64))
    with pytest.raises(UnsupportedError, match="no way to ONNX"):
        evaluate(tmp_path / "net.tflite", str(labelled[1]), weights_grid="log")
