"""`--io-layout`: images at the rim lie as asked for, and every artifact still agrees with its source."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, TensorSpec, convert, tflite_file
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layout import Layout

IMAGE = TensorSpec(name="image", shape=(None, 3, 4, 5), dtype="float32")
SCORES = TensorSpec(name="scores", shape=(None, 10), dtype="float32")


def test_only_images_are_turned_and_back_again() -> None:
    layout = Layout("nhwc", channels_first=True)
    arrays = {"image": np.arange(2 * 60).reshape(2, 3, 4, 5), "scores": np.zeros((2, 10))}
    turned = layout.to_artifact(arrays, (IMAGE, SCORES))
    assert {name: one.shape for name, one in turned.items()} == {"image": (2, 4, 5, 3), "scores": (2, 10)}
    np.testing.assert_array_equal(layout.to_source(turned, (IMAGE, SCORES))["image"], arrays["image"])


def test_whole_runs_are_turned_behind_their_first_axis() -> None:
    layout = Layout("nchw", channels_first=False)
    assert layout.to_artifact({"image": np.zeros((7, 1, 3, 4, 5))}, (IMAGE,))["image"].shape == (7, 1, 5, 3, 4)


@pytest.mark.parametrize(("wanted", "channels_first"), [("keep", True), ("nchw", True), ("nhwc", False)])
def test_what_lies_right_already_stays(wanted: str, channels_first: bool) -> None:
    assert not Layout(wanted, channels_first).turns
    assert Layout(wanted, channels_first).axes(4) is None


@pytest.mark.slow
@pytest.mark.parametrize(("layout", "shape", "transposes"), [("nhwc", (1, 8, 8, 3), 0), ("keep", (1, 3, 8, 8), 1)])
def test_an_artifact_of_an_onnx_net_has_the_layout_asked_for(  # noqa: PLR0913, PLR0917  # fixtures
    layout: str,
    shape: tuple[int, ...],
    transposes: int,
    tmp_path: Path,
    work: Path,
    jobs: JobRunner,
    run_artifact: Callable[..., dict[str, Any]],
) -> None:
    import onnx

    text = '<ir_version: 8, opset_import: ["": 13]> g (float[1, 3, 8, 8] image) => (float[1, 4] y) {'
    model = onnx.parser.parse_model(text + " c = Conv(image, w)\n p = GlobalMaxPool(c)\n y = Flatten(p) }")
    rng = np.random.default_rng(5)
    weights = rng.normal(size=(4, 3, 3, 3)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(weights, "w"))
    onnx.save(model, tmp_path / "net.onnx")
    images = rng.random((6, 3, 8, 8)).astype(np.float32)
    result = convert(
        ConversionRequest(
            model=tmp_path / "net.onnx",
            wanted=(("tflite", "fp32"), ("tflite", "int8"), ("openvino", "fp32"), ("openvino", "int8")),
            output=tmp_path / "out",
            work=work,
            calibration={"image": images},
            reference_inputs={"image": images},
            layout=layout,
        ),
        jobs,
    )
    assert not result.failures
    float_file = tflite_file.read(tmp_path / "out" / "net.fp32.tflite")
    assert float_file.public_inputs[0][1].shape == shape
    assert [op.name for op in float_file.ops].count("TRANSPOSE") == transposes
    given = result.layout.to_artifact({"image": images[:1]}, result.source.inputs)
    for artifact in result.artifacts:
        answer: Any = run_artifact(artifact.path, given)["y"]
        wanted: Any = result.reference["y"]
        np.testing.assert_allclose(answer, wanted[:1], atol=1e-4 if artifact.precision == "fp32" else 0.2)


def test_channels_first_cannot_be_had_in_a_tflite_file_of_one(
    tmp_path: Path, work: Path, jobs: JobRunner, tiny_tflite: Callable[..., bytes]
) -> None:
    (tmp_path / "net.tflite").write_bytes(tiny_tflite())
    asked = ConversionRequest(
        model=tmp_path / "net.tflite",
        wanted=(("tflite", "fp32"),),
        output=tmp_path / "out",
        work=work,
        layout="nchw",
    )
    with pytest.raises(UnsupportedError, match="has its channels last: NCHW cannot be had"):
        convert(asked, jobs)
