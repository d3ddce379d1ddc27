"""A step that gives the model other inputs: the artifact is a source of its own, and data of the old one is refused."""

from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit_converters.errors import CalibrationError
from tests.converters.compress.test_kv_cache import LENGTH, WORDS, _decoder

pytestmark = pytest.mark.slow


@pytest.fixture
def decoder(tmp_path: Path) -> Path:
    import onnx

    onnx.save(_decoder("separate", free=False), tmp_path / "decoder.onnx")
    ids = np.random.default_rng(0).integers(0, WORDS, (6, LENGTH))
    np.savez(tmp_path / "data.npz", ids=ids)
    return tmp_path / "decoder.onnx"


def test_a_cached_decoder_is_converted_and_compared_with_itself(decoder: Path, tmp_path: Path) -> None:
    options = edgekit.ConvertOptions(bench=False)
    report = edgekit.compress(decoder, ["kv-cache"], tmp_path / "out", options)
    assert [one.name for one in report.source.inputs] == ["ids", "position", "past_keys", "past_values"]
    for one in report.artifacts:
        assert one.status == "ok", one.reason
        assert one.agreement is not None
        assert one.agreement.max_abs < 1e-3
    (step,) = report.compression
    assert step.after.bytes.keys() == {"tflite", "openvino"}


def test_data_of_the_source_does_not_fit_it_any_more(decoder: Path, tmp_path: Path) -> None:
    data = f"{tmp_path}/data.npz"
    int8 = edgekit.ConvertOptions(bench=False, calib=data, compress=("kv-cache",), precisions=("int8",), to=("tflite",))
    with pytest.raises(CalibrationError, match="other inputs: tflite int8 cannot be calibrated"):
        edgekit.convert(decoder, int8, tmp_path / "out")
    judged = edgekit.ConvertOptions(bench=False, eval=data, metric="cosine", to=("tflite",))
    with pytest.raises(CalibrationError, match="kv-cache gives the model other inputs: it cannot be judged"):
        edgekit.compress(decoder, ["kv-cache"], tmp_path / "out", judged)
