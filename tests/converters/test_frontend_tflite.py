"""TFLite in: the file's own answers, and files LiteRT must not be trusted with."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit_converters import tflite_file
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.frontends.tflite import TFLiteFrontend
from edgekit_converters.jobs import JobRunner

Tiny = Callable[..., bytes]


def write(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_a_file_without_signature_is_given_one_and_answers_the_same(
    tiny_tflite: Tiny, jobs: JobRunner, work: Path, tmp_path: Path
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    path = write(tmp_path / "m.tflite", tiny_tflite())
    images = np.random.default_rng(2).random((5, 6, 6, 2)).astype(np.float32)
    loaded = TFLiteFrontend().load(LoadRequest(model=path, work=work, reference_inputs={"image": images}), jobs)
    interpreter = Interpreter(model_path=str(path))
    interpreter.allocate_tensors()
    for image, made in zip(images, loaded.reference["scores"], strict=True):
        interpreter.set_tensor(0, image[np.newaxis])
        interpreter.invoke()
        assert (interpreter.get_tensor(8)[0] == made).all()
    assert loaded.float_tflite is not None
    signature = tflite_file.read(loaded.float_tflite).signature
    assert signature is not None
    assert (signature.key, signature.inputs, signature.outputs) == (
        "serving_default",
        (("image", 0),),
        (("scores", 8),),
    )


def test_a_damaged_file_never_reaches_litert(tiny_tflite: Tiny, jobs: JobRunner, work: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "m.tflite", tiny_tflite()[:700])
    with pytest.raises(ModelFileError, match="truncated or damaged"):
        TFLiteFrontend().load(LoadRequest(model=path, work=work), jobs)
    assert not jobs.log.exists()


def test_a_graph_that_makes_no_sense_is_an_error_and_not_a_crash(
    tiny_tflite: Tiny, jobs: JobRunner, work: Path, tmp_path: Path
) -> None:
    """Every offset is good, and the convolution reads its own output: only running can tell."""
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(tiny_tflite()))
    model.subgraphs[0].operators[0].inputs = [8, 8, 8]
    path = write(tmp_path / "m.tflite", bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with pytest.raises(ModelFileError, match="LiteRT"):
        TFLiteFrontend().load(LoadRequest(model=path, work=work), jobs)


def test_a_flex_op_is_refused_by_name(tiny_tflite: Tiny, jobs: JobRunner, work: Path, tmp_path: Path) -> None:
    from ai_edge_litert import schema_py_generated as schema
    from ai_edge_litert.tools import flatbuffer_utils

    model = flatbuffer_utils.read_model_from_bytearray(bytearray(tiny_tflite()))
    code = model.operatorCodes[2]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.CUSTOM
    code.customCode = b"FlexErf"
    path = write(tmp_path / "m.tflite", bytes(flatbuffer_utils.convert_object_to_bytearray(model)))
    with pytest.raises(UnsupportedError, match=r"op 'FlexErf' \(op 2\)"):
        TFLiteFrontend().load(LoadRequest(model=path, work=work), jobs)


@pytest.mark.slow
def test_files_with_flipped_bits_never_end_this_process(
    tiny_tflite: Tiny, jobs: JobRunner, work: Path, tmp_path: Path, rng: np.random.Generator
) -> None:
    """What passes the checks is loaded and run by LiteRT in a child: an answer, or an error of the known kinds."""
    data, answered = tiny_tflite(), 0
    images = {"x": np.zeros((1, 6, 6, 2), np.float32)}
    for _ in range(12):
        damaged = bytearray(data)
        for place in rng.integers(8, len(data), 3):
            damaged[place] ^= 1 << int(rng.integers(8))
        path = write(tmp_path / "m.tflite", bytes(damaged))
        try:
            TFLiteFrontend().load(LoadRequest(model=path, work=work, reference_inputs=images), jobs)
            answered += 1
        except (ModelFileError, UnsupportedError):
            continue
    assert answered  # a flipped weight is still a model


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("model", "golden", "inputs", "outputs"),
    [
        ("cifar10-resnet/pretrainedResnet.tflite", "cifar10-resnet", "x_uint8", "resnet8_probs"),
        ("vww-mobilenet/vww_96_float.tflite", "vww-mobilenet", "x_uint8", "probs_float"),
    ],
)
def test_golden_outputs_of_float_files(  # noqa: PLR0913, PLR0917  # fixtures and cases
    shared_data: Path, jobs: JobRunner, work: Path, model: str, golden: str, inputs: str, outputs: str
) -> None:
    known = np.load(shared_data / golden / "golden.npz")
    images = known[inputs].astype(np.float32) / (255 if golden == "vww-mobilenet" else 1)
    request = LoadRequest(model=shared_data / model, work=work, reference_inputs={"x": images})
    made = TFLiteFrontend().load(request, jobs).reference
    assert np.abs(next(iter(made.values())) - known[outputs]).max() <= 1e-5


@pytest.mark.shared_data
@pytest.mark.parametrize(
    ("model", "inputs", "outputs"),
    [
        ("kws-dscnn/kws_ref_model.tflite", "x_int8", "out_int8"),
        ("vww-mobilenet/vww_96_int8.tflite", "x_int8", "out_int8"),
        ("wakeword-1d/str_ww_ref_model.tflite", "x_int8", "out_int8"),
    ],
)
def test_golden_outputs_of_quantized_files(  # noqa: PLR0913, PLR0917  # fixtures and cases
    shared_data: Path, jobs: JobRunner, work: Path, model: str, inputs: str, outputs: str
) -> None:
    path = shared_data / model
    known = np.load(path.parent / "golden.npz")
    loaded = TFLiteFrontend().load(LoadRequest(model=path, work=work, reference_inputs={"x": known[inputs]}), jobs)
    assert loaded.source.inputs[0].dtype == "int8"
    assert loaded.warnings == ("the source is quantized already",)
    made = next(iter(loaded.reference.values())).astype(int)
    assert np.abs(made - known[outputs]).max() <= 1
