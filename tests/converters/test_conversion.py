"""`convert` on a small TFLite file: checks before work, artifacts, failures beside results, one sentence a mistake."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import (
    BACKENDS,
    ConversionRequest,
    Event,
    TensorSpec,
    check_wanted,
    convert,
    describe,
    random_calibration,
    reference,
    tflite_file,
)
from edgekit_converters.backends import backend_for
from edgekit_converters.conversion import Wanted, stem_of
from edgekit_converters.data import bind, runs
from edgekit_converters.errors import (
    CalibrationError,
    ConverterMissingError,
    ModelFileError,
    PrecisionError,
    UnsupportedError,
)
from edgekit_converters.jobs import JobRunner
from edgekit_converters.workshop import RANDOM_WARNING

Tiny = Callable[..., bytes]
Run = Callable[..., dict[str, Any]]
# a TFLite file has no ONNX form
EVERYTHING: Wanted = tuple(
    (target, how) for target in BACKENDS if target != "onnx" for how in backend_for(target).precisions
)


@pytest.fixture
def model(tmp_path: Path, tiny_tflite: Tiny) -> Path:
    path = tmp_path / "tiny.net.tflite"
    path.write_bytes(tiny_tflite(free_batch=True))
    return path


@pytest.fixture
def images() -> np.ndarray[Any, np.dtype[np.float32]]:
    return np.random.default_rng(3).random((20, 6, 6, 2)).astype(np.float32)


@pytest.fixture
def request_for(model: Path, work: Path, tmp_path: Path) -> Callable[..., ConversionRequest]:
    def make(*wanted: tuple[str, str], **more: Any) -> ConversionRequest:
        return ConversionRequest(model=model, wanted=wanted, output=tmp_path / "out", work=work, **more)

    return make


@pytest.mark.parametrize(
    ("wanted", "says"),
    [
        ((("tflite", "int4"),), "tflite has no precision 'int4': it has fp32, fp16, int8, int8-dynamic"),
        ((("openvino", "int8-dynamic"),), "openvino has no precision 'int8-dynamic': it has fp32, fp16, int8"),
        ((("tensorrt", "fp16"),), "there is no target 'tensorrt': the targets are tflite, openvino"),
        ((("tflite", "fp32"), ("tflite", "fp32")), "tflite fp32 is asked for twice"),
        ((), "no target is asked for"),
    ],
)
def test_what_is_not_there_is_refused_before_the_model_is_looked_at(wanted: Wanted, says: str, tmp_path: Path) -> None:
    with pytest.raises(PrecisionError, match=says):
        check_wanted(wanted)
    nothing = ConversionRequest(model=tmp_path / "none.h5", wanted=wanted, output=tmp_path / "out", work=tmp_path)
    with pytest.raises(PrecisionError, match=says):
        convert(nothing, JobRunner(log=tmp_path / "log"))
    assert not (tmp_path / "out").exists()


def test_int8_without_calibration_says_how_to_give_some(
    request_for: Callable[..., ConversionRequest], jobs: JobRunner
) -> None:
    with pytest.raises(CalibrationError, match="openvino int8 needs calibration data") as caught:
        convert(request_for(("tflite", "fp32"), ("openvino", "int8")), jobs)
    assert "--calib random" in caught.value.__notes__[0]
    assert not jobs.log.exists()


@pytest.mark.parametrize(
    ("name", "shape", "says"),
    [
        ("picture", (4, 6, 6, 2), "has no array 'image'"),
        ("image", (4, 2, 6, 6), "has shape 4x2x6x6, the model takes Nx6x6x2"),
        ("image", (0, 6, 6, 2), "has no samples"),
    ],
)
def test_calibration_that_does_not_fit_is_one_sentence(
    request_for: Callable[..., ConversionRequest], jobs: JobRunner, name: str, shape: tuple[int, ...], says: str
) -> None:
    calibration = {name: np.zeros(shape, np.float32)}
    with pytest.raises(CalibrationError, match=says):
        convert(request_for(("tflite", "int8"), calibration=calibration), jobs)


def test_values_that_are_not_finite_are_refused(request_for: Callable[..., ConversionRequest], jobs: JobRunner) -> None:
    calibration = {"x": np.full((4, 6, 6, 2), np.nan, np.float32)}
    with pytest.raises(CalibrationError, match="NaN or infinite"):
        convert(request_for(("tflite", "int8"), calibration=calibration), jobs)


def test_missing_and_truncated_models_are_one_sentence(
    request_for: Callable[..., ConversionRequest], jobs: JobRunner, model: Path, tmp_path: Path
) -> None:
    with pytest.raises(ModelFileError, match="there is no file or folder"):
        convert(replace(request_for(("tflite", "fp32")), model=tmp_path / "none.tflite"), jobs)
    model.write_bytes(model.read_bytes()[:-500])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        convert(request_for(("tflite", "fp32")), jobs)
    assert not (tmp_path / "out").exists()


def test_describe_and_reference_say_what_the_model_is_and_does(model: Path, jobs: JobRunner, work: Path) -> None:
    source = describe(model, jobs)
    assert source.inputs == (TensorSpec(name="image", shape=(None, 6, 6, 2), dtype="float32"),)
    assert source.outputs == (TensorSpec(name="scores", shape=(None, 3), dtype="float32"),)
    assert (source.format, source.parameters, source.macs) == ("tflite", 271, 1344)
    assert (source.size_bytes, len(source.sha256)) == (model.stat().st_size, 64)
    assert reference(model, {"x": np.zeros((5, 6, 6, 2), np.float32)}, jobs, work)["scores"].shape == (5, 3)


def test_fp32_of_a_tflite_source_with_a_signature_is_the_file_itself(
    request_for: Callable[..., ConversionRequest], jobs: JobRunner, model: Path, tmp_path: Path
) -> None:
    first = convert(request_for(("tflite", "fp32")), jobs).artifacts[0].path
    assert first == tmp_path / "out" / "tiny.net.fp32.tflite"
    again = replace(request_for(("tflite", "fp32")), model=first, output=tmp_path / "again")
    assert convert(again, jobs).artifacts[0].path.read_bytes() == first.read_bytes()
    assert [file.name for file in (tmp_path / "out").iterdir()] == [first.name]
    assert tflite_file.read(model).signature is None


def test_shapes_are_frozen_and_wrong_ones_refused(
    request_for: Callable[..., ConversionRequest], jobs: JobRunner
) -> None:
    result = convert(request_for(("tflite", "fp32"), shapes={"image": (4, 6, 6, 2)}), jobs)
    assert result.source.inputs[0].shape == (4, 6, 6, 2)
    assert result.source.outputs[0].shape == (4, 3)
    assert result.source.macs == 4 * 1344
    with pytest.raises(UnsupportedError, match=r"input 'image' is \?x6x6x2 and cannot be 1x7x7x2"):
        convert(request_for(("tflite", "fp32"), shapes={"image": (1, 7, 7, 2)}), jobs)
    with pytest.raises(UnsupportedError, match="'picture', which is no input"):
        convert(request_for(("tflite", "fp32"), shapes={"picture": (1, 6, 6, 2)}), jobs)


@pytest.mark.slow
def test_every_target_and_precision_keeps_names_shapes_and_answers(
    request_for: Callable[..., ConversionRequest],
    jobs: JobRunner,
    images: Any,
    run_artifact: Run,
    tmp_path: Path,
) -> None:
    events: list[Event] = []
    asked = request_for(*EVERYTHING, calibration={"x": images}, reference_inputs={"image": images})
    result = convert(asked, jobs, events.append)
    assert [(one.format, one.precision) for one in result.artifacts] == list(EVERYTHING)
    assert result.failures == ()
    assert [event.stage for event in events] == ["load", "tflite", "openvino"]
    source = result.reference["scores"]
    for artifact in result.artifacts:
        four_bits = dict.fromkeys(("int4-weights", "nf4-weights", "codebook-weights"), 0.3)
        bound = {"fp32": 1e-5, "fp16": 0.02, **four_bits}.get(artifact.precision, 0.06) * np.abs(source).max()
        # OpenVINO reads TFLite artifacts too, but for what it has no form of
        strange = artifact.precision in {"int16x8", "int8-weights", "int4-weights"}
        for runtime in {artifact.format} if strange else {artifact.format, "openvino"}:
            made = run_artifact(artifact.path, {"image": images}, runtime)["scores"]
            assert np.abs(made - source).max() <= bound, (runtime, artifact)
        assert artifact.size_bytes == sum(file.stat().st_size for file in artifact.files)
        assert artifact.warnings == ()
    names = sorted(file.name for file in (tmp_path / "out").iterdir())
    assert names == sorted(file.name for artifact in result.artifacts for file in artifact.files)
    steps = {(one.format, one.precision): one.steps[-1] for one in result.artifacts if one.steps}
    step = steps["tflite", "int8"]
    assert step.after["bytes"] == (tmp_path / "out" / "tiny.net.int8.tflite").stat().st_size
    assert step.before["bytes"] == (tmp_path / "out" / "tiny.net.fp32.tflite").stat().st_size


@pytest.mark.slow
def test_the_same_request_gives_the_same_bytes(
    request_for: Callable[..., ConversionRequest], tmp_path: Path, images: Any
) -> None:
    bytes_of = []
    for run in ("1", "2"):
        (tmp_path / f"work{run}").mkdir()
        asked = replace(
            request_for(*EVERYTHING, calibration={"x": images}), output=tmp_path / run, work=tmp_path / f"work{run}"
        )
        jobs = JobRunner(log=tmp_path / f"log{run}", environment={"PYTHONHASHSEED": run})
        result = convert(asked, jobs)
        bytes_of.append({file.name: file.read_bytes() for one in result.artifacts for file in one.files})
    assert bytes_of[0] == bytes_of[1]


@pytest.mark.slow
def test_random_calibration_works_and_says_so(request_for: Callable[..., ConversionRequest], jobs: JobRunner) -> None:
    asked = request_for(("tflite", "fp32"), ("tflite", "int8"), random_calibration=True, reference_samples=4)
    result = convert(asked, jobs)
    assert [one.warnings for one in result.artifacts] == [(), (RANDOM_WARNING,)]
    assert result.reference_inputs["image"].shape == (4, 6, 6, 2)
    assert result.reference["scores"].shape == (4, 3)


@pytest.mark.slow
def test_a_quantized_file_is_copied_and_retargeted_but_not_quantized_again(
    request_for: Callable[..., ConversionRequest], jobs: JobRunner, images: Any, tmp_path: Path, run_artifact: Run
) -> None:
    int8 = convert(request_for(("tflite", "int8"), calibration={"x": images}), jobs).artifacts[0].path
    assert tflite_file.read(int8).quantized
    wanted: Wanted = (("tflite", "fp32"), ("tflite", "int8"), ("openvino", "fp32"), ("openvino", "int8"))
    asked = replace(
        request_for(*wanted, calibration={"x": images}, reference_inputs={"x": images}),
        model=int8,
        output=tmp_path / "second",
    )
    result = convert(asked, jobs)
    assert [(one.format, one.precision) for one in result.failures] == [("tflite", "int8"), ("openvino", "int8")]
    assert all(isinstance(one.error, UnsupportedError) for one in result.failures)
    assert all("quantized already" in str(one.error) for one in result.failures)
    copy, retargeted = result.artifacts
    assert copy.path.read_bytes() == int8.read_bytes()
    assert copy.warnings == ("the source is quantized already: this is a copy",)
    step = np.abs(result.reference["scores"]).max() / 50
    assert np.abs(run_artifact(retargeted.path, {"image": images})["scores"] - result.reference["scores"]).max() < step
    with pytest.raises(UnsupportedError, match="quantized already"):
        convert(replace(asked, wanted=(("tflite", "int8"),)), jobs)


@pytest.mark.slow
def test_a_missing_library_names_the_extra_and_loses_nothing_else(
    request_for: Callable[..., ConversionRequest], tmp_path: Path
) -> None:
    (tmp_path / "shadow" / "openvino").mkdir(parents=True)
    (tmp_path / "shadow" / "openvino" / "__init__.py").write_text("raise ImportError('not here')\n")
    jobs = JobRunner(log=tmp_path / "log", environment={"PYTHONPATH": str(tmp_path / "shadow")})
    result = convert(request_for(("tflite", "fp32"), ("openvino", "fp32")), jobs)
    assert [one.format for one in result.artifacts] == ["tflite"]
    assert isinstance(result.failures[0].error, ConverterMissingError)
    assert result.failures[0].error.__notes__ == ["pip install 'edgekit-sdk[openvino]'"]
    with pytest.raises(ConverterMissingError, match="OpenVINO is not installed"):
        convert(request_for(("openvino", "fp32")), jobs)


@pytest.mark.slow
def test_nothing_is_written_in_the_home_folder(
    request_for: Callable[..., ConversionRequest], tmp_path: Path, images: Any
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    jobs = JobRunner(log=tmp_path / "log", environment={"HOME": str(home)})
    convert(request_for(*EVERYTHING, calibration={"x": images}), jobs)
    assert list(home.iterdir()) == []


def test_random_data_is_seeded_and_in_range() -> None:
    inputs = [
        TensorSpec(name="f", shape=(None, 3), dtype="float32"),
        TensorSpec(name="u", shape=(1, 50), dtype="uint8"),
        TensorSpec(name="i", shape=(1, 50), dtype="int8"),
    ]
    first, again = random_calibration(inputs, 7, 10), random_calibration(inputs, 7, 10)
    assert all((first[name] == again[name]).all() for name in first)
    assert not (first["f"] == random_calibration(inputs, 8, 10)["f"]).all()
    assert first["f"].dtype == np.float32
    assert 0 <= float(np.min(first["f"])) <= float(np.max(first["f"])) < 1
    assert int(np.max(first["u"])) > 127
    assert int(np.min(first["i"])) < 0
    assert first["i"].shape == (10, 50)


def test_random_data_gives_free_sizes_a_number() -> None:
    ids = random_calibration([TensorSpec(name="ids", shape=(None, None), dtype="int64")], 0, 4)["ids"]
    assert ids.shape == (4, 32)
    assert set(np.unique(ids)) == {0, 1}


def test_inputs_that_share_no_batch_take_whole_runs() -> None:
    inputs = [
        TensorSpec(name="chunk", shape=(None, 512), dtype="float32"),
        TensorSpec(name="state", shape=(2, None, 128), dtype="float32"),
        TensorSpec(name="rate", shape=(), dtype="int64"),
    ]
    given = random_calibration(inputs, 0, 5)
    assert {name: array.shape for name, array in given.items()} == {
        "chunk": (5, 1, 512),
        "state": (5, 2, 1, 128),
        "rate": (5,),
    }
    assert [one["state"].shape for one in runs(bind(given, inputs), inputs)] == [(2, 1, 128)] * 5


def test_artifacts_are_named_after_the_model(tmp_path: Path) -> None:
    assert stem_of(Path("a/b.c.tflite")) == "b.c"
    (tmp_path / "saved.v2").mkdir()
    assert stem_of(tmp_path / "saved.v2") == "saved.v2"


def test_the_facade_has_what_it_names() -> None:
    import edgekit_converters

    assert dir(edgekit_converters) == sorted(edgekit_converters.__all__)
    assert all(getattr(edgekit_converters, name) is not None for name in edgekit_converters.__all__)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = edgekit_converters.nothing
