"""The two lanes of Keras and SavedModel, TensorFlow's converter and ONNX with our lowering, against each other."""

import collections
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert, tflite_file
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import JobRunner

pytestmark = pytest.mark.slow

Run = Callable[..., dict[str, Any]]
WANTED = (("tflite", "fp32"), ("openvino", "fp32"))


def by_lane(model: Path, samples: Any, jobs: JobRunner, work: Path, **asked: Any) -> dict[str, ConversionResult]:
    results = {}
    for lane in ("tensorflow", "onnx"):
        folder = work / lane
        folder.mkdir()
        request = ConversionRequest(
            model=model,
            wanted=WANTED,
            output=folder / "out",
            work=folder,
            reference_inputs=samples,
            through_onnx=lane == "onnx",
            **asked,
        )
        results[lane] = convert(request, jobs)
    return results


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("name", "tolerance"),
    [
        ("kws-dscnn/saved_model", 1e-5),
        ("cifar10-resnet/pretrainedResnet.h5", 1e-5),
        ("vww-mobilenet/vww_96.h5", 1e-5),
        ("wakeword-1d/str_ww_ref_model.h5", 1e-5),
        # Ten layers with narrow batch norms carry float32's rounding up to 75: relative to that.
        ("ad-autoencoder/ad01.h5", 2e-4),
    ],
)
def test_both_lanes_give_the_same_numbers_on_real_models(  # noqa: PLR0913, PLR0917  # fixtures
    shared_data: Path, jobs: JobRunner, work: Path, run_artifact: Run, name: str, tolerance: float
) -> None:
    samples = {"x": real_samples(shared_data, name.partition("/")[0])}
    lanes = by_lane(shared_data / name, samples, jobs, work)
    plain, onnx = (lanes[lane].source for lane in ("tensorflow", "onnx"))
    assert (onnx.inputs, onnx.outputs, onnx.sha256) == (plain.inputs, plain.outputs, plain.sha256)
    inputs = {plain.inputs[0].name: samples["x"]}
    ((output, right),) = lanes["tensorflow"].reference.items()
    scale = max(1.0, float(np.abs(np.asarray(right, dtype=np.float64)).max()))
    for lane, result in lanes.items():
        assert not result.failures
        for artifact in result.artifacts:
            got = run_artifact(artifact.path, inputs)[output]
            assert np.abs(got - right).max() <= tolerance * scale, (lane, artifact.format)
    ops = collections.Counter(op.name for op in tflite_file.read(lanes["onnx"].artifacts[0].path).ops)
    assert ops["TRANSPOSE"] == 0


def real_samples(data: Path, folder: str) -> Any:
    """Return sixteen inputs of the model in a folder of the real data."""
    if folder == "kws-dscnn":
        known = np.load(data / folder / "kws01_features.npz")
        return ((known["x_int8"][:16].astype(np.float32) - known["zero_point"]) * known["scale"]).astype(np.float32)
    if folder == "wakeword-1d":
        return np.load(data / folder / "calibration_samples.npz")["specs"][:16].astype(np.float32)
    known = np.load(data / folder / "golden.npz")
    if folder == "ad-autoencoder":
        frames = known["frames"]
        return np.stack([frames[at : at + 5].reshape(-1) for at in range(16)]).astype(np.float32)
    return known["x_uint8"][:16].astype(np.float32) / (255 if folder == "vww-mobilenet" else 1)


@pytest.mark.parametrize("name", ["two.keras", "two_saved", "legacy.h5", "gru.keras"])
def test_the_canonical_graph_has_the_sources_names_order_and_layout(
    tensorflow_models: Path, jobs: JobRunner, work: Path, name: str
) -> None:
    import onnx

    path = tensorflow_models / name
    loaded = frontend_for(path).load(LoadRequest(model=path, work=work, through_onnx=True), jobs)
    assert loaded.onnx is not None
    graph = onnx.load(loaded.onnx).graph
    assert [one.name for one in graph.input] == [one.name for one in loaded.source.inputs]
    assert [one.name for one in graph.output] == [one.name for one in loaded.source.outputs]
    for value, spec in zip(graph.input, loaded.source.inputs, strict=True):
        sizes = [one.dim_value if one.HasField("dim_value") else None for one in value.type.tensor_type.shape.dim]
        assert tuple(sizes) == spec.shape


def test_two_inputs_and_outputs_agree_over_onnx(tensorflow_models: Path, jobs: JobRunner, work: Path) -> None:
    known = np.load(tensorflow_models / "two.npz")
    path = tensorflow_models / "two.keras"
    samples = {name: known[name] for name in ("image", "a_meta")}
    request = LoadRequest(
        model=path,
        work=work,
        reference_inputs=samples,
        want_tflite=True,
        through_onnx=True,
        shapes={"image": (1, 8, 8, 3), "a_meta": (1, 4)},
    )
    loaded = frontend_for(path).load(request, jobs)
    scores: Any = loaded.reference["scores"]
    np.testing.assert_allclose(scores, known["arr_0"], atol=1e-5)
    assert loaded.float_tflite is not None
    described = tflite_file.read(loaded.float_tflite)
    assert [name for name, _ in described.public_inputs] == ["image", "a_meta"]
    assert [name for name, _ in described.public_outputs] == ["scores", "box"]


def test_gelu_and_loops_reach_both_targets_over_onnx(
    tensorflow_models: Path, jobs: JobRunner, work: Path, run_artifact: Run
) -> None:
    samples = {"x": np.random.default_rng(5).normal(size=(6, 5, 3)).astype(np.float32)}
    request = ConversionRequest(
        model=tensorflow_models / "gelu.keras",
        wanted=WANTED,
        output=work / "out",
        work=work,
        reference_inputs=samples,
        through_onnx=True,
    )
    result = convert(request, jobs)
    ((output, right),) = result.reference.items()
    inputs = {result.source.inputs[0].name: samples["x"]}
    assert not result.failures
    for artifact in result.artifacts:
        assert np.abs(run_artifact(artifact.path, inputs)[output] - right).max() <= 1e-5, artifact.format
    assert "GELU" in {op.name for op in tflite_file.read(result.artifacts[0].path).ops}
