"""The figures the real models must reach: float exactness, golden outputs, accuracy and size of int8."""

import os
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.conversion import Wanted
from edgekit_converters.jobs import JobRunner
from tests.converters.real_data import cifar10, exact_reconstruction, keyword_features, sound_windows, top1

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

Run = Callable[..., dict[str, Any]]
Convert = Callable[..., ConversionResult]
INT8: Wanted = (("tflite", "fp32"), ("tflite", "int8"), ("openvino", "fp32"), ("openvino", "int8"))


@pytest.fixture
def converted(jobs: JobRunner, work: Path, tmp_path: Path) -> Convert:
    def converted(model: Path, calibration: Any, samples: Any, wanted: Wanted = INT8) -> ConversionResult:
        request = ConversionRequest(
            model=model,
            wanted=wanted,
            output=tmp_path / "out",
            work=work,
            calibration={"x": calibration},
            reference_inputs={"x": samples},
        )
        return convert(request, jobs)

    return converted


def only(outputs: Any) -> Any:
    (value,) = outputs.values()
    return value


def outputs_of(result: ConversionResult, samples: Any, run: Run) -> dict[tuple[str, str], Any]:
    name = result.source.inputs[0].name
    return {(one.format, one.precision): only(run(one.path, {name: samples})) for one in result.artifacts}


def sizes_of(result: ConversionResult) -> dict[tuple[str, str], int]:
    return {(one.format, one.precision): one.size_bytes for one in result.artifacts}


def test_keyword_spotting(shared_data: Path, converted: Convert, run_artifact: Run) -> None:
    x, y = keyword_features(shared_data)
    result = converted(shared_data / "kws-dscnn" / "saved_model", x[:200], x[200:])
    source, made, size = only(result.reference), outputs_of(result, x[200:], run_artifact), sizes_of(result)
    assert result.source.parameters == 24_908
    for target in ("tflite", "openvino"):
        assert np.abs(made[target, "fp32"] - source).max() <= 1e-5
        assert top1(made[target, "int8"], y[200:]) >= top1(source, y[200:]) - 0.5
    assert size["tflite", "int8"] <= 0.55 * size["tflite", "fp32"]


def test_keyword_spotting_golden_outputs(shared_data: Path, converted: Convert) -> None:
    known = np.load(shared_data / "kws-dscnn" / "golden.npz")
    model = shared_data / "kws-dscnn" / "saved_model"
    result = converted(model, known["x_float"], known["x_float"], (("tflite", "fp32"),))
    assert np.abs(only(result.reference) - known["probs_float"]).max() <= 1e-5


def test_resnet8(shared_data: Path, converted: Convert, run_artifact: Run) -> None:
    folder = shared_data / "cifar10-resnet"
    images, labels = cifar10(folder / "cifar10_jpeg_test.zip")
    training, _ = cifar10(folder / "cifar10_jpeg_train5k.zip")
    chosen = training[np.random.default_rng(0).permutation(len(training))[:200]]
    result = converted(folder / "pretrainedResnet.h5", chosen, images)
    source, made, size = only(result.reference), outputs_of(result, images, run_artifact), sizes_of(result)
    assert top1(source, labels) == pytest.approx(75.48)
    for target in ("tflite", "openvino"):
        assert np.abs(made[target, "fp32"] - source).max() <= 1e-5
        assert top1(made[target, "int8"], labels) >= top1(source, labels) - 0.5
    assert size["tflite", "int8"] <= 0.35 * size["tflite", "fp32"]


def test_resnet8_golden_outputs(shared_data: Path, converted: Convert) -> None:
    folder = shared_data / "cifar10-resnet"
    known = np.load(folder / "golden.npz")
    images = known["x_uint8"].astype(np.float32)
    result = converted(folder / "pretrainedResnet.h5", images, images, (("tflite", "fp32"),))
    assert np.abs(only(result.reference) - known["resnet8_probs"]).max() <= 1e-5


def test_visual_wake_words(shared_data: Path, converted: Convert, run_artifact: Run) -> None:
    folder = shared_data / "vww-mobilenet"
    known = np.load(folder / "golden.npz")
    images = known["x_uint8"].astype(np.float32) / 255
    result = converted(folder / "vww_96.h5", images, images)
    made, size = outputs_of(result, images, run_artifact), sizes_of(result)
    assert np.abs(only(result.reference) - known["probs_float"]).max() <= 1e-5
    for target in ("tflite", "openvino"):
        assert np.abs(made[target, "fp32"] - known["probs_float"]).max() <= 1e-5
        assert np.abs(made[target, "int8"] - known["probs_float"]).max() <= 0.05
    assert size["tflite", "int8"] <= 0.4 * size["tflite", "fp32"]


def test_wakeword(shared_data: Path, converted: Convert, run_artifact: Run) -> None:
    folder = shared_data / "wakeword-1d"
    samples = np.load(folder / "calibration_samples.npz")
    x, y = samples["specs"].astype(np.float32), samples["labels"]
    result = converted(folder / "str_ww_ref_model.h5", x, x)
    made = outputs_of(result, x, run_artifact)
    assert top1(only(result.reference), y) == pytest.approx(100 * 41 / 45)
    for target in ("tflite", "openvino"):
        assert np.abs(made[target, "fp32"] - only(result.reference)).max() <= 1e-5
        assert top1(made[target, "int8"], y) == pytest.approx(100 * 41 / 45)


def test_anomaly_detection(shared_data: Path, converted: Convert, run_artifact: Run) -> None:
    folder = shared_data / "ad-autoencoder"
    windows = sound_windows(shared_data)
    result = converted(folder / "ad01.h5", windows[:100], windows)
    made = outputs_of(result, windows, run_artifact)
    score = {key: float(((output - windows) ** 2).mean()) for key, output in made.items()}
    # Values reach 75 and pass ten layers with narrow batch norms, so that TensorFlow itself is 3e-3 off float64:
    # what counts is the distance to float64 (measured: TFLite half of TensorFlow's, OpenVINO twice).
    exact = exact_reconstruction(shared_data, windows)
    own = np.abs(only(result.reference) - exact).max()
    assert 1e-3 < own < 1e-2
    for target in ("tflite", "openvino"):
        assert np.abs(made[target, "fp32"] - exact).max() <= 4 * own
        assert score[target, "fp32"] == pytest.approx(9.4913, abs=1e-3)
        assert score[target, "int8"] == pytest.approx(9.4913, abs=0.8)  # the published int8 model: 10.2603


OLD_RUNTIME = """
import sys
import numpy as np
from tflite_runtime.interpreter import Interpreter
x = np.load(sys.argv[1])
for path in sys.argv[2:]:
    interpreter = Interpreter(path)
    interpreter.allocate_tensors()
    one, out = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    rows = []
    for sample in x:
        interpreter.set_tensor(one, sample[np.newaxis])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(out)[0])
    np.save(path + ".npy", np.stack(rows))
"""


def test_every_tflite_precision_is_right_on_the_old_runtime(
    shared_data: Path, converted: Convert, repository: Path, tmp_path: Path
) -> None:
    """tflite-runtime 2.14 runs some quantized files without complaint and wrongly: its numbers count."""
    python = Path(os.environ.get("EDGEKIT_DEVICE_PYTHON", repository / ".venv-device" / "bin" / "python"))
    if not python.exists():
        pytest.skip("needs the device environment with tflite-runtime: make setup")
    x, y = keyword_features(shared_data)
    wanted: Wanted = tuple(("tflite", how) for how in ("fp32", "fp16", "int8", "int8-dynamic"))
    result = converted(shared_data / "kws-dscnn" / "saved_model", x[:200], x[200:], wanted)
    np.save(tmp_path / "x.npy", x[200:])
    paths = [str(one.path) for one in result.artifacts]
    subprocess.run([str(python), "-c", OLD_RUNTIME, str(tmp_path / "x.npy"), *paths], check=True, timeout=120)
    source = top1(only(result.reference), y[200:])
    assert {Path(path).name: top1(np.load(path + ".npy"), y[200:]) >= source - 0.5 for path in paths} == {
        Path(path).name: True for path in paths
    }
