"""What `edgekit convert` calls its artifacts, by the name of the model."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekit.cli.main import app


@pytest.mark.parametrize(
    ("model", "made"),
    [
        ("nets/small.pt2", "build/small/models/small.fp32.tflite"),
        ("mynet:build", "build/build/models/build.fp32.tflite"),
        ("nets.vision:Small.build", "build/Small.build/models/Small.build.fp32.tflite"),
    ],
)
def test_artifacts_are_named_after_the_file_or_the_factory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, made: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["convert", model, "--to", "tflite", "--dry-run"])
    assert done.exit_code == 0
    assert done.output == f"{model} -> {made}\n"


def test_options_of_a_precision_are_in_the_files_name() -> None:
    words = ["convert", "m.onnx", "--to", "tflite", "--to", "openvino", "--precision", "int8:percentile=99.5,equalize"]
    done = CliRunner().invoke(app, [*words, "--calib", "random", "--dry-run"])
    assert done.exit_code == 0
    stem = "m.onnx -> build/m/models/m.int8-percentile99.5-equalize"
    assert done.output.splitlines() == [f"{stem}.tflite", f"{stem}.xml"]
