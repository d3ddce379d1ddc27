"""Factories that return JAX functions and Keras models, against those frameworks run here."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, convert
from edgekit_converters.errors import ConverterMissingError, UnsupportedError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("factories")]

Run = Callable[..., dict[str, Any]]
Load = Callable[..., Loaded]


@pytest.fixture
def load(jobs: JobRunner, work: Path) -> Load:
    def loaded(name: str, **asked: Any) -> Loaded:
        return frontend_for(Path(name)).load(LoadRequest(model=Path(name), work=work, **asked), jobs)

    return loaded


@pytest.fixture
def in_jax(installed: Callable[..., None]) -> None:
    installed("jax")


@pytest.mark.usefixtures("in_jax")
def test_a_jax_function_agrees_with_numpy_on_both_targets(
    jobs: JobRunner, work: Path, run_artifact: Run, rng: np.random.Generator
) -> None:
    samples = {
        "image": rng.random((4, 16, 16, 3)).astype(np.float32),
        "settings.gain": rng.random((4, 1)).astype(np.float32),
    }
    request = ConversionRequest(
        model=Path("jax_nets:classifier"),
        wanted=(("tflite", "fp32"), ("openvino", "fp32")),
        output=work / "out",
        work=work,
        reference_inputs=samples,
    )
    result = convert(request, jobs)
    source, right = result.source, in_numpy(samples["image"], samples["settings.gain"])
    assert source.format == "jax"
    assert [(one.name, one.shape) for one in source.inputs] == [("image", (1, 16, 16, 3)), ("settings.gain", (1, 1))]
    assert [(one.name, one.shape) for one in source.outputs] == [("features", (1, 16, 16, 8)), ("scores", (1, 5))]
    assert [one.path.name for one in result.artifacts] == ["classifier.fp32.tflite", "classifier.fp32.xml"]
    for outputs in (result.reference, *(run_artifact(one.path, samples) for one in result.artifacts)):
        for name, array in right.items():
            np.testing.assert_allclose(outputs[name], array, atol=1e-5)


def in_numpy(images: Any, gain: Any) -> dict[str, Any]:
    """Return what `jax_nets.classifier` computes, from its formula."""
    rng = np.random.default_rng(7)
    kernel, dense = (rng.normal(size=shape).astype(np.float32) for shape in ((3, 3, 3, 8), (8, 5)))
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(1, 2))
    features = np.maximum(np.einsum("nhwcij,ijco->nhwo", windows, kernel), 0)
    gelu = 0.5 * features * (1 + np.tanh(np.sqrt(2 / np.pi) * (features + 0.044715 * features**3)))
    features = features + gelu * gain[:, :, np.newaxis, np.newaxis]
    logits = np.exp(features.mean((1, 2)) @ dense)
    return {"features": features, "scores": logits / logits.sum(-1, keepdims=True)}


@pytest.mark.usefixtures("in_jax")
def test_integers_one_example_and_another_shape(load: Load) -> None:
    ids = np.random.default_rng(0).integers(0, 300, (6, 9)).astype(np.int32)
    loaded = load("jax_nets:tokens", shapes={"ids": (3, 9)}, reference_inputs={"x": ids})
    table = np.random.default_rng(8).normal(size=(300, 4)).astype(np.float32)
    assert [(one.name, one.shape, one.dtype) for one in loaded.source.inputs] == [("ids", (3, 9), "int32")]
    own: Any = loaded.reference["output_0"]
    np.testing.assert_allclose(own, table[ids].sum(1), atol=1e-5)


@pytest.mark.usefixtures("in_jax")
@pytest.mark.parametrize(
    ("name", "asked", "says"),
    [
        ("sorts", {}, "the compiler left .*STABLEHLO_SORT, which no TFLite runtime has"),
        ("cannot_be_traced", {}, "JAX cannot trace the function"),
        ("without_examples", {}, "returns a function without example inputs, which is no model"),
        ("tokens", {"through_onnx": True}, "a JAX function has no way to ONNX"),
        ("tokens", {"shapes": {"words": (1, 2)}}, "a shape is given for 'words', but the function's inputs are: ids"),
    ],
)
def test_what_cannot_be_had_of_a_function_is_one_sentence(
    load: Load, name: str, asked: dict[str, Any], says: str
) -> None:
    with pytest.raises(UnsupportedError, match=says) as caught:
        load(f"jax_nets:{name}", **asked)
    assert "\n" not in str(caught.value)


def test_without_jax_the_extra_is_named(tmp_path: Path, work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "jax.py").write_text("raise ImportError('not here')\n")
    (tmp_path / "mine.py").write_text("def build():\n    return (lambda x: x), [1.0]\n")
    monkeypatch.chdir(tmp_path)
    jobs = JobRunner(log=tmp_path / "log")
    with pytest.raises(ConverterMissingError, match="JAX is not installed") as caught:
        frontend_for(Path("mine:build")).load(LoadRequest(model=Path("mine:build"), work=work), jobs)
    assert caught.value.__notes__ == ["pip install 'edgekit-sdk[jax]'"]


@pytest.mark.parametrize("through_onnx", [False, True])
def test_a_keras_model_takes_either_lane(load: Load, rng: np.random.Generator, *, through_onnx: bool) -> None:
    pixels = rng.random((4, 8, 8, 3)).astype(np.float32)
    loaded = load("jax_nets:keras_3", reference_inputs={"x": pixels}, want_tflite=True, through_onnx=through_onnx)
    assert loaded.source.format == "keras"
    assert [one.name for one in (*loaded.source.inputs, *loaded.source.outputs)] == ["pixels", "scores"]
    assert (loaded.onnx is not None) == through_onnx
    assert loaded.float_tflite is not None
    assert np.asarray(loaded.reference["scores"]).shape == (4, 3)
