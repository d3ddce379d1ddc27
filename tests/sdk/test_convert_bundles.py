"""`edgekit convert --bundle`: a bundle of each artifact that passed, and none of an earlier run's left."""

from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit_agent import bundle as bundles
from edgekit_agent.errors import BundleError

MODELS = Path(__file__).parents[1] / "data" / "models"
pytestmark = pytest.mark.slow  # conversions
QUICK = {"to": ("onnx",), "bench": False}


def _convert(folder: Path, **options: object) -> edgekit.Report:
    return edgekit.convert(MODELS / "dense.onnx", edgekit.ConvertOptions(**QUICK, **options), folder)  # type: ignore[arg-type]  # options


def test_each_artifact_has_a_bundle_fed_with_what_it_was_judged_on(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    np.savez(tmp_path / "calib.npz", x=rng.random((20, 4), dtype=np.float32))
    calib = str(tmp_path / "calib.npz")
    report = _convert(tmp_path / "out", calib=calib, precisions=("fp32", "int8"), bundle="1.2.0")
    assert [one.status for one in report.artifacts] == ["ok", "ok"]
    made = sorted((tmp_path / "out" / "bundles").iterdir())
    assert [one.name for one in made] == ["dense.fp32.onnx.ekb", "dense.int8.onnx.ekb"]
    for file, artifact in zip(made, report.artifacts, strict=True):
        manifest = bundles.verify(file).manifest
        assert (manifest.model, manifest.version, manifest.precision) == ("dense", "1.2.0", artifact.precision)
        assert manifest.golden.inputs[0].shape[0] == 8
        assert manifest.file_of("report") == "report.json"
    bundles.unpack(made[0], tmp_path / "there")
    fed = np.frombuffer((tmp_path / "there" / "golden-input-0.raw").read_bytes(), np.float32)
    with np.load(calib) as data:
        assert np.array_equal(fed, data["x"][:8].ravel())
    assert edgekit.verify_bundle(made[1], run=True).proof is not None


def test_a_run_without_bundles_leaves_none_of_an_artifact_that_is_another_now(tmp_path: Path) -> None:
    _convert(tmp_path / "out", bundle="1.2.0")
    (tmp_path / "out" / "bundles" / "mine.ekb").write_bytes(b"kept")
    _convert(tmp_path / "out")
    assert [one.name for one in (tmp_path / "out" / "bundles").iterdir()] == ["mine.ekb"]


def test_what_does_not_repeat_itself_gets_no_bundle_and_everything_else_is_written(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    nodes = [helper.make_node("RandomNormalLike", ["x"], ["noise"]), helper.make_node("Add", ["x", "noise"], ["y"])]
    ports = [helper.make_tensor_value_info(name, TensorProto.FLOAT, [1, 4]) for name in "xy"]
    graph = helper.make_graph(nodes, "g", ports[:1], ports[1:])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=10), tmp_path / "n.onnx")
    options = edgekit.ConvertOptions(to=("onnx",), bench=False, bundle="1.0.0")
    with pytest.raises(BundleError, match="does not repeat its own golden vectors") as caught:
        edgekit.convert(tmp_path / "n.onnx", options, tmp_path / "out")
    assert caught.value.__notes__ == ["models/n.fp32.onnx has no bundle; everything else is written"]
    assert (tmp_path / "out" / "report.json").exists()
    assert (tmp_path / "out" / "models" / "n.fp32.onnx").exists()
