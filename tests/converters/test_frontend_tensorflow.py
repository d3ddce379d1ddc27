"""Keras 3, Keras 2 and SavedModel: names, order, numbers, and what is refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import tflite_file
from edgekit_converters.errors import CalibrationError, ConverterMissingError, ModelFileError, UnsupportedError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays, TensorSpec

pytestmark = pytest.mark.slow

Run = Callable[..., dict[str, Any]]
Load = Callable[..., Loaded]


@pytest.fixture
def load(jobs: JobRunner, work: Path) -> Load:
    def load(path: Path, inputs: Arrays | None = None, **shapes: tuple[int, ...]) -> Loaded:
        request = LoadRequest(model=path, work=work, reference_inputs=inputs, shapes=shapes, want_tflite=True)
        return frontend_for(path).load(request, jobs)

    return load


def names(specs: tuple[TensorSpec, ...]) -> list[tuple[str, tuple[int | None, ...], str]]:
    return [(spec.name, spec.shape, spec.dtype) for spec in specs]


def test_keras_3_keeps_names_order_and_numbers(tensorflow_models: Path, load: Load, run_artifact: Run) -> None:
    known = np.load(tensorflow_models / "two.npz")
    inputs = {"image": known["image"], "a_meta": known["a_meta"]}
    loaded = load(tensorflow_models / "two.keras", inputs)
    source = loaded.source
    assert source.format == "keras"
    assert names(source.inputs) == [("image", (None, 8, 8, 3), "float32"), ("a_meta", (None, 4), "float32")]
    assert names(source.outputs) == [("scores", (None, 3), "float32"), ("box", (None, 2), "float32")]
    assert source.parameters == 112 + 16 + 148 * 3 + 3 + 148 * 2 + 2
    assert loaded.float_tflite is not None
    file = tflite_file.read(loaded.float_tflite)
    assert [name for name, _ in file.public_inputs] == ["image", "a_meta"]
    assert [name for name, _ in file.public_outputs] == ["scores", "box"]
    assert [tensor.name for _, tensor in file.public_outputs] == ["scores", "box"]
    made = run_artifact(loaded.float_tflite, inputs)
    for key, name in (("arr_0", "scores"), ("arr_1", "box")):
        assert np.abs(loaded.reference[name] - known[key]).max() <= 1e-6
        assert np.abs(made[name] - known[key]).max() <= 1e-6


@pytest.mark.parametrize(
    ("model", "known", "kind", "output"),
    [
        ("plain3.h5", "plain3", "keras-h5", "dense"),
        ("plain_saved", "plain3", "saved-model", "output_0"),
        ("legacy.h5", "legacy", "keras-h5", "scores"),
        ("legacy.keras", "legacy", "keras", "scores"),
    ],
)
def test_every_format_reaches_the_known_numbers(  # noqa: PLR0913, PLR0917  # fixtures and cases
    tensorflow_models: Path, load: Load, run_artifact: Run, model: str, known: str, kind: str, output: str
) -> None:
    expected = np.load(tensorflow_models / f"{known}.npz")
    loaded = load(tensorflow_models / model, {"x": expected["pixels"]})
    assert loaded.source.format == kind
    assert names(loaded.source.inputs) == [("pixels", (None, 8, 8, 3), "float32")]
    assert [spec.name for spec in loaded.source.outputs] == [output]
    assert np.abs(loaded.reference[output] - expected["arr_0"]).max() <= 1e-6
    assert loaded.float_tflite is not None
    assert (
        np.abs(run_artifact(loaded.float_tflite, {"pixels": expected["pixels"]})[output] - expected["arr_0"]).max()
        <= 1e-6
    )


def test_a_plain_saved_model_runs_its_own_function(tensorflow_models: Path, load: Load, run_artifact: Run) -> None:
    rng = np.random.default_rng(4)
    left, right = rng.random((7, 4)).astype(np.float32), rng.random((7, 3)).astype(np.float32)
    loaded = load(tensorflow_models / "two_saved", {"right": right, "left": left})
    product = left @ (np.arange(12, dtype=np.float32).reshape(4, 3) / 10)
    assert loaded.float_tflite is not None
    converted = run_artifact(loaded.float_tflite, {"left": left, "right": right})
    outputs: Any
    for outputs in (loaded.reference, converted):
        assert np.abs(outputs["total"] - (product + right)).max() <= 1e-6
        assert np.abs(outputs["half"] - product / 2).max() <= 1e-6
    assert [spec.name for spec in loaded.source.inputs] == ["left", "right"]
    assert [spec.name for spec in loaded.source.outputs] == ["half", "total"]
    assert loaded.source.parameters == 12


@pytest.mark.parametrize("model", ["two_saved", "two.keras"])
def test_shapes_are_frozen_in_the_source_and_its_tflite(tensorflow_models: Path, load: Load, model: str) -> None:
    shapes = {"left": (4, 4), "right": (4, 3)} if model == "two_saved" else {"image": (4, 8, 8, 3), "a_meta": (4, 4)}
    rng = np.random.default_rng(4)
    inputs = {name: rng.random((6, *shape[1:])).astype(np.float32) for name, shape in shapes.items()}
    loaded = load(tensorflow_models / model, inputs, **shapes)
    assert {spec.name: spec.shape for spec in loaded.source.inputs} == shapes
    assert all(spec.shape[0] == 4 for spec in loaded.source.outputs)
    assert all(len(array) == 6 for array in loaded.reference.values())
    assert loaded.float_tflite is not None
    assert all(tensor.shape[0] == 4 for _, tensor in tflite_file.read(loaded.float_tflite).public_inputs)


def test_a_recurrent_model_needs_a_fixed_batch_and_is_told_so(tensorflow_models: Path, load: Load) -> None:
    with pytest.raises(UnsupportedError, match=r"op 'TensorListReserve' \(node '.*gru") as caught:
        load(tensorflow_models / "gru.keras")
    assert "--shape" in caught.value.__notes__[0]
    assert load(tensorflow_models / "gru.keras", input_layer=(1, 5, 3)).source.outputs[0].shape == (1, 2)


@pytest.mark.parametrize(
    ("model", "error", "says"),
    [
        ("lambda.keras", UnsupportedError, "is a Lambda layer"),
        ("lambda.h5", UnsupportedError, "is a Lambda layer"),
        ("module.keras", UnsupportedError, r"custom object 'subprocess\.Popen'"),
        ("custom.h5", UnsupportedError, "needs the custom layer 'MyDense'"),
        ("weights.h5", ModelFileError, "holds no model"),
        ("other_saved", ModelFileError, "has no signature 'serving_default'"),
        ("python_saved", UnsupportedError, "op 'PyFunc' .* reaches outside the model"),
        ("unsupported_saved", UnsupportedError, r"op 'Betainc' \(node 'Betainc'\) has no TFLite form"),
    ],
)
def test_what_cannot_or_must_not_be_loaded_is_one_sentence(
    tensorflow_models: Path, load: Load, model: str, error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says) as caught:
        load(tensorflow_models / model)
    assert "\n" not in str(caught.value)


def test_truncated_files_are_one_sentence(tensorflow_models: Path, load: Load, tmp_path: Path) -> None:
    for name in ("legacy.h5", "two.keras"):
        cut = tmp_path / name
        cut.write_bytes((tensorflow_models / name).read_bytes()[:3000])
        with pytest.raises(ModelFileError, match="truncated or damaged"):
            load(cut)
    folder = tmp_path / "saved"
    folder.mkdir()
    whole = (tensorflow_models / "two_saved" / "saved_model.pb").read_bytes()
    (folder / "saved_model.pb").write_bytes(whole[: len(whole) // 2])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load(folder)
    (folder / "saved_model.pb").write_bytes(whole)
    with pytest.raises(ModelFileError, match="cannot be loaded"):
        load(folder)  # its variables are missing


def test_reference_inputs_that_do_not_fit_are_refused(tensorflow_models: Path, load: Load) -> None:
    with pytest.raises(CalibrationError, match=r"has shape 4x3x8x8, the model takes Nx8x8x3"):
        load(tensorflow_models / "legacy.h5", {"x": np.zeros((4, 3, 8, 8), np.float32)})


def test_without_tensorflow_the_extra_is_named(tensorflow_models: Path, tmp_path: Path, work: Path) -> None:
    for library in ("tensorflow", "keras", "tf_keras"):
        (tmp_path / "shadow" / library).mkdir(parents=True)
        (tmp_path / "shadow" / library / "__init__.py").write_text("raise ImportError('not here')\n")
    jobs = JobRunner(log=tmp_path / "log", environment={"PYTHONPATH": str(tmp_path / "shadow")})
    for name in ("legacy.h5", "two.keras", "two_saved"):
        path = tensorflow_models / name
        with pytest.raises(ConverterMissingError, match="TensorFlow is not installed") as caught:
            frontend_for(path).load(LoadRequest(model=path, work=work), jobs)
        assert caught.value.__notes__ == ["pip install 'edgekit-sdk[tensorflow]'"]
