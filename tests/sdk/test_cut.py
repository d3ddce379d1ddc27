"""A model cut from Python and the command line, and then used like any other."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import edgekit
from edgekit._measure import Candidate, measure
from edgekit.cli.main import app
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.graph.oracle import session
from edgekit_converters.jobs import JobRunner
from tests.converters.compress.image_nets import Stack


@pytest.fixture
def net(tmp_path: Path) -> Path:
    import onnx

    stack = Stack(1, 3, (16, 16))
    for channels in (8, 4, 8, 8):
        stack.conv(channels, (3, 3))
        stack.add("Relu")
    stack.add("GlobalAveragePool")
    onnx.save(stack.proto(), tmp_path / "net.onnx")
    return tmp_path / "net.onnx"


@pytest.mark.parametrize("runtime", ["onnxruntime", "openvino"])
def test_the_pipeline_gives_what_the_model_gives(runtime: str, net: Path, tmp_path: Path) -> None:
    pytest.importorskip(runtime)
    found = edgekit.cut(net, 3, tmp_path / "cut", runtime=runtime)
    assert [one.file for one in found.stages] == [f"net.stage{at}.onnx" for at in (1, 2, 3)]
    assert found.proved_on == 4
    x = np.random.default_rng(0).normal(size=(5, 3, 16, 16)).astype(np.float32)
    jobs = JobRunner(log=tmp_path / "log")
    got = measure([Candidate(key="p", path=found.path)], jobs, tmp_path, inputs={"x": x}, runs=0)["p"]
    assert got.error is None
    assert got.outputs is not None
    (wanted,) = session(net).run(None, {"x": x})
    (name,) = got.outputs
    np.testing.assert_allclose(np.asarray(got.outputs[name], np.float32), wanted, rtol=0, atol=1e-5)


def test_the_command_writes_the_folder_and_says_what_is_handed_over(net: Path, tmp_path: Path) -> None:
    output = tmp_path / "cut"
    answer = CliRunner().invoke(app, ["cut", str(net), "--stages", "2", "-o", str(output), "--json"])
    assert answer.exit_code == 0, answer.output
    document = json.loads(answer.stdout)
    assert sum(one["work"] for one in document["stages"]) > 0
    assert document["stages"][0]["hands_over_bytes"] > document["stages"][1]["hands_over_bytes"] == 0
    assert sorted(one.name for one in output.iterdir()) == ["net.pipeline", "net.stage1.onnx", "net.stage2.onnx"]
    shown = CliRunner().invoke(app, ["cut", str(net), "--stages", "2", "-o", str(output)])
    assert "net.stage1.onnx" in shown.stdout
    assert "outputs are the model's on 4 samples" in shown.stdout


def test_what_cannot_be_cut_is_refused_and_nothing_is_written(net: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="the model has 9 operators, which make no 20 stages"):
        edgekit.cut(net, 20, tmp_path / "cut")
    with pytest.raises(ModelFileError):
        edgekit.cut(tmp_path / "gone.onnx", 2, tmp_path / "cut")
    assert not (tmp_path / "cut").exists()


def test_a_tflite_file_has_no_graph_to_cut(repository: Path, tmp_path: Path) -> None:
    with pytest.raises(UnsupportedError, match="is a TFLite file, which has no way to ONNX"):
        edgekit.cut(repository / "tests" / "data" / "models" / "dense.tflite", 2, tmp_path / "cut")
