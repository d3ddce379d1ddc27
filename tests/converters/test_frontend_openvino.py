"""OpenVINO IR in: described, run, saved again, quantized; and everything refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.errors import CalibrationError, ModelFileError, UnsupportedError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner

pytestmark = pytest.mark.slow

Run = Callable[..., dict[str, Any]]
TEXT = """<ir_version: 8, opset_import: ["": 13]> g (float[N, 3, 8, 8] image) => (float[N, 4] scores) {
    a = Conv<pads = [1, 1, 1, 1]>(image, w)\n r = Relu(a)\n g = GlobalAveragePool(r)\n scores = Flatten(g) }"""


@pytest.fixture(scope="module")
def ir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small IR with its `.bin`, made by EdgeKit from ONNX."""
    import onnx

    folder = tmp_path_factory.mktemp("ir")
    model = onnx.parser.parse_model(TEXT)
    weights = np.random.default_rng(3).normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, folder / "net.onnx")
    (folder / "work").mkdir()
    request = ConversionRequest(
        model=folder / "net.onnx", wanted=(("openvino", "fp32"),), output=folder, work=folder / "work"
    )
    return convert(request, JobRunner(log=folder / "log")).artifacts[0].path


@pytest.fixture
def images(rng: np.random.Generator) -> Any:
    return rng.random((6, 3, 8, 8)).astype(np.float32)


def load(path: Path, jobs: JobRunner, work: Path, **asked: Any) -> Loaded:
    return frontend_for(path).load(LoadRequest(model=path, work=work, **asked), jobs)


def again(path: Path, jobs: JobRunner, work: Path, images: Any, *precisions: str) -> ConversionResult:
    request = ConversionRequest(
        model=path,
        wanted=tuple(("openvino", one) for one in precisions),
        output=work / "out",
        work=work,
        calibration={"image": images},
        reference_inputs={"image": images},
    )
    return convert(request, jobs)


def test_an_ir_is_described_with_its_weights(ir: Path, jobs: JobRunner, work: Path) -> None:
    source = load(ir, jobs, work).source
    assert (source.format, source.parameters) == ("openvino", 4 * 3 * 9)
    assert (source.inputs[0].name, source.inputs[0].shape, source.inputs[0].dtype) == (
        "image",
        (None, 3, 8, 8),
        "float32",
    )
    assert source.outputs[0].name == "scores"
    assert source.size_bytes == ir.stat().st_size + ir.with_suffix(".bin").stat().st_size


def test_every_precision_is_made_of_an_ir(
    ir: Path, jobs: JobRunner, work: Path, images: Any, run_artifact: Run
) -> None:
    result = again(ir, jobs, work, images, "fp32", "fp16", "int8")
    right = run_artifact(ir, {"image": images})["scores"]
    own: Any = result.reference["scores"]
    np.testing.assert_allclose(own, right, atol=1e-6)
    got = {one.precision: run_artifact(one.path, {"image": images})["scores"] for one in result.artifacts}
    np.testing.assert_allclose(got["fp32"], right, atol=1e-6)
    np.testing.assert_allclose(got["fp16"], right, atol=2e-3)
    assert 0 < np.abs(got["int8"] - right).max() < 0.1


def test_what_is_quantized_already_is_not_quantized_again(ir: Path, jobs: JobRunner, work: Path, images: Any) -> None:
    made = again(ir, jobs, work, images, "int8").artifacts[0].path
    (work / "second").mkdir()
    assert load(made, jobs, work).warnings == ("the source is quantized already",)
    with pytest.raises(UnsupportedError, match="the OpenVINO IR is quantized already"):
        again(made, jobs, work / "second", images, "int8")


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"want_tflite": True}, "is an OpenVINO IR, which cannot become TFLite"),
        ({"through_onnx": True}, "is an OpenVINO IR, which cannot become ONNX"),
        ({"layout": "nhwc"}, "does not say where its channels lie"),
        ({"shapes": {"image": (1, 4, 8, 8)}}, "cannot be 1x4x8x8"),
    ],
)
def test_what_an_ir_cannot_become_is_refused(
    ir: Path, jobs: JobRunner, work: Path, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(UnsupportedError, match=says):
        load(ir, jobs, work, **asked)


def test_damaged_and_incomplete_irs_are_one_sentence(ir: Path, jobs: JobRunner, work: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.xml"
    alone.write_bytes(ir.read_bytes())
    with pytest.raises(ModelFileError, match=r"has no weights beside it: 'alone\.bin' is missing"):
        load(alone, jobs, work)
    alone.write_bytes(ir.read_bytes()[:600])
    alone.with_suffix(".bin").write_bytes(ir.with_suffix(".bin").read_bytes())
    with pytest.raises(ModelFileError, match="not an OpenVINO IR that can be read"):
        load(alone, jobs, work)
    with pytest.raises(CalibrationError, match="input 'image' has shape"):
        load(ir, jobs, work, reference_inputs={"x": np.zeros((2, 8, 8, 3), np.float32)})
