"""PyTorch in: exported programs, TorchScript and factories against PyTorch's own outputs, and everything refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert, tflite_file
from edgekit_converters.errors import (
    CalibrationError,
    ConversionError,
    ConverterMissingError,
    ModelFileError,
    UnsupportedError,
)
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import fingerprint
from edgekit_converters.jobs import JobRunner

pytestmark = pytest.mark.slow

Run = Callable[..., dict[str, Any]]
Load = Callable[..., Loaded]
IMAGE = {"image": (1, 3, 16, 16)}


@pytest.fixture
def load(jobs: JobRunner, work: Path) -> Load:
    def loaded(path: Path | str, **asked: Any) -> Loaded:
        return frontend_for(Path(path)).load(LoadRequest(model=Path(path), work=work, **asked), jobs)

    return loaded


def converted(model: Path, jobs: JobRunner, work: Path, samples: Any, **asked: Any) -> ConversionResult:
    wanted = (("tflite", "fp32"), ("openvino", "fp32"))
    request = ConversionRequest(
        model=model, wanted=wanted, output=work / "out", work=work, reference_inputs=samples, **asked
    )
    return convert(request, jobs)


@pytest.mark.parametrize(
    ("name", "form", "outputs", "shapes"),
    [
        ("named.pt2", "pytorch-exported", ("scores", "features"), {}),
        ("scripted.pt", "torchscript", ("output_0", "output_1"), IMAGE),
        ("traced.jit", "torchscript", ("scores", "features"), IMAGE),
        ("torch_nets:named", "pytorch", ("scores", "features"), {}),
        ("torch_nets:residual", "pytorch", None, IMAGE),
    ],
)
@pytest.mark.usefixtures("factories")
def test_every_form_agrees_with_pytorch_on_both_targets(  # noqa: PLR0913, PLR0917  # fixtures
    torch_models: Path,
    jobs: JobRunner,
    work: Path,
    run_artifact: Run,
    name: str,
    form: str,
    outputs: tuple[str, str] | None,
    shapes: Any,
) -> None:
    known = np.load(torch_models / "images.npz")
    model = Path(name) if ":" in name else torch_models / name
    result = converted(model, jobs, work, {"image": known["image"]}, shapes=shapes)
    made = tuple(one.name for one in result.source.outputs)
    assert [one.name for one in result.source.inputs] == ["image"]
    assert result.source.format == form
    assert result.source.path == model
    assert outputs is None or made == outputs
    assert not result.failures
    for artifact in result.artifacts:
        assert artifact.path.name.startswith(f"{model.stem if ':' not in name else name.split(':')[1]}.fp32.")
        got = run_artifact(artifact.path, {"image": known["image"]})
        for one, right in zip(made, (known["scores"], known["features"]), strict=True):
            own: Any = result.reference[one]
            np.testing.assert_allclose(own, right, atol=1e-6)
            np.testing.assert_allclose(got[one], right, atol=1e-5)


def test_a_file_is_known_by_its_own_bytes_and_free_sizes_stay_free(torch_models: Path, load: Load) -> None:
    path = torch_models / "named.pt2"
    loaded = load(path)
    source = loaded.source
    assert source.inputs[0].shape == (None, 3, None, 16)
    assert [one.shape for one in source.outputs] == [(None, 5), (None, 8, None, 8)]
    assert (source.sha256, source.size_bytes) == fingerprint(path)
    assert source.parameters == 3 * 8 * 9 + 8 + 16 + 8 * 9 + 8 + 16 + 64 + 8 + 45
    assert loaded.steps[0].name == "export to ONNX"
    assert loaded.onnx is not None


def test_shapes_given_fix_the_free_sizes_of_an_exported_program(torch_models: Path, load: Load) -> None:
    loaded = load(torch_models / "named.pt2", shapes={"image": (1, 3, 32, 16)}, want_tflite=True)
    assert loaded.source.inputs[0].shape == (1, 3, 32, 16)
    assert loaded.float_tflite is not None
    assert tflite_file.read(loaded.float_tflite).public_inputs[0][1].shape == (1, 3, 32, 16)
    with pytest.raises(UnsupportedError, match=r"'image' is \?x3x\?x16 and cannot be 1x4x32x16"):
        load(torch_models / "named.pt2", shapes={"image": (1, 4, 32, 16)})


@pytest.mark.parametrize("length", [9, 4])
def test_integer_inputs_with_free_batch_and_length(torch_models: Path, load: Load, length: int) -> None:
    known = np.load(torch_models / "text.npz")
    samples = {name: known[name][:, :length] for name in ("ids", "mask")}
    loaded = load(torch_models / "text.pt2", reference_inputs=samples)
    assert [(one.name, one.shape, one.dtype) for one in loaded.source.inputs] == [
        ("ids", (None, None), "int64"),
        ("mask", (None, None), "int64"),
    ]
    pooled: Any = next(iter(loaded.reference.values()))
    assert pooled.shape == (6, 4)
    if length == 9:
        np.testing.assert_allclose(pooled, known["pooled"], atol=1e-6)


def test_torchscript_says_which_shape_is_missing(torch_models: Path, load: Load) -> None:
    with pytest.raises(UnsupportedError, match="does not say what shape its input 'image' has") as caught:
        load(torch_models / "scripted.pt")
    assert caught.value.__notes__ == ["give it: --shape image=1x..., or data that shows it: --calib or --eval"]


@pytest.mark.usefixtures("factories")
@pytest.mark.parametrize("name", ["scripted.pt", "torch_nets:residual"])
def test_without_a_shape_the_data_shows_it(torch_models: Path, load: Load, name: str) -> None:
    known = np.load(torch_models / "images.npz")
    model = name if ":" in name else torch_models / name
    loaded = load(model, reference_inputs={"x": known["image"].astype(np.float64)})
    assert loaded.source.inputs[0].shape == (1, 3, 16, 16)
    own: Any = next(iter(loaded.reference.values()))
    np.testing.assert_allclose(own, known["scores"], atol=1e-6)


@pytest.mark.parametrize(
    ("shapes", "says"),
    [
        ({"picture": (1, 3, 8, 8)}, "a shape is given for 'picture', but the model's inputs are: image"),
        ({"image": (1, 4, 8, 8)}, "does not run with the shapes given"),
    ],
)
def test_a_wrong_shape_for_torchscript_is_one_sentence(torch_models: Path, load: Load, shapes: Any, says: str) -> None:
    with pytest.raises(UnsupportedError, match=says) as caught:
        load(torch_models / "scripted.pt", shapes=shapes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["state.pt", "old.pth"])
def test_real_checkpoints_are_refused(torch_models: Path, load: Load, name: str) -> None:
    with pytest.raises(ModelFileError, match="is a checkpoint"):
        load(torch_models / name)


def test_nothing_in_a_file_is_unpickled_or_written(torch_models: Path, load: Load) -> None:
    with pytest.raises(ModelFileError, match="PyTorch cannot load"):
        load(torch_models / "hostile.pt2")
    assert not (torch_models / "unpickled").exists()
    with pytest.raises(UnsupportedError, match=r"op 'save' in .* reaches outside the model"):
        load(torch_models / "writes.pt", shapes={"x": (1, 2)})


@pytest.mark.parametrize(("name", "share"), [("named.pt2", 0.5), ("named.pt2", 0.999), ("scripted.pt", 0.9)])
def test_a_truncated_file_is_one_sentence(
    torch_models: Path, load: Load, tmp_path: Path, name: str, share: float
) -> None:
    data = (torch_models / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        load(path)


def test_data_that_does_not_fit_is_told(torch_models: Path, load: Load) -> None:
    with pytest.raises(CalibrationError, match="input 'image' has shape"):
        load(torch_models / "named.pt2", reference_inputs={"x": np.zeros((2, 16, 16, 3), np.float32)})
    wrong = {name: np.full((1, 4), 100_000) for name in ("ids", "mask")}
    with pytest.raises(CalibrationError, match="PyTorch stops on the reference data: index out of range"):
        load(torch_models / "text.pt2", reference_inputs=wrong)


def test_an_input_that_is_no_tensor_is_named(load: Load, installed: Callable[..., None]) -> None:
    installed("torch", "silero_vad")
    import importlib.util

    spec = importlib.util.find_spec("silero_vad")
    assert spec is not None
    assert spec.origin is not None
    path = Path(spec.origin).parent / "data" / "silero_vad.jit"
    with pytest.raises(UnsupportedError, match="input 'sr' of the TorchScript model is of type int"):
        load(path, shapes={"x": (1, 512)})


def test_without_pytorch_the_extra_is_named(torch_models: Path, tmp_path: Path, work: Path) -> None:
    (tmp_path / "shadow" / "torch").mkdir(parents=True)
    (tmp_path / "shadow" / "torch" / "__init__.py").write_text("raise ImportError('not here')\n")
    jobs = JobRunner(log=tmp_path / "log", environment={"PYTHONPATH": str(tmp_path / "shadow")})
    for name, shapes in (("named.pt2", {}), ("scripted.pt", IMAGE)):
        path = torch_models / name
        with pytest.raises(ConverterMissingError, match="PyTorch is not installed") as caught:
            frontend_for(path).load(LoadRequest(model=path, work=work, shapes=shapes), jobs)
        assert caught.value.__notes__ == ["pip install 'edgekit-sdk[torch]'"]


@pytest.mark.usefixtures("factories", "torch_models")
@pytest.mark.parametrize(
    ("name", "kind", "says"),
    [
        ("torch_nets:residual", UnsupportedError, "does not say what shape its input 'image' has"),
        ("torch_nets:nothing", ModelFileError, "the module 'torch_nets' has no 'nothing'"),
        ("no_nets.at_all:build", ModelFileError, "there is no module 'no_nets.at_all'"),
        ("torch_nets:not_a_model", UnsupportedError, "'torch_nets:not_a_model' returns a int, which is no model"),
        ("torch_nets:breaks", ModelFileError, "'torch_nets:breaks' raises ValueError: no weights here"),
        ("torch_nets:__doc__", ModelFileError, "is a str, not a function"),
    ],
)
def test_a_factory_that_gives_no_model_is_one_sentence(
    load: Load, name: str, kind: type[ConversionError], says: str
) -> None:
    with pytest.raises(kind, match=says):
        load(name)


@pytest.mark.usefixtures("factories", "torch_models")
def test_a_factory_may_return_an_exported_program(load: Load) -> None:
    source = load("torch_nets:text").source
    assert [one.shape for one in source.inputs] == [(None, None), (None, None)]
    assert source.format == "pytorch"
    assert len(source.sha256) == 64


@pytest.mark.usefixtures("factories", "torch_models")
def test_one_tensor_as_two_examples_stays_two_inputs(load: Load, rng: np.random.Generator) -> None:
    samples = {name: rng.random((3, 4)).astype(np.float32) for name in "ab"}
    loaded = load("torch_nets:twice", reference_inputs=samples)
    own: Any = next(iter(loaded.reference.values()))
    np.testing.assert_allclose(own, samples["a"] - 2 * samples["b"], atol=1e-6)
