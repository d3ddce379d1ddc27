"""A recurrent network with branches and a state that its caller carries: Silero VAD, against its golden outputs."""

import importlib.util
import os
import wave
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Array

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

WINDOW, CONTEXT = 512, 64
Run = Callable[..., dict[str, Any]]


@pytest.fixture(params=["silero_vad_16k_op15.onnx", "silero_vad.onnx"])
def converted(request: pytest.FixtureRequest, jobs: JobRunner, work: Path, tmp_path: Path) -> ConversionResult:
    """Both files: the one for every rate decides on it by an `If`, both have more of them inside."""
    spec = importlib.util.find_spec("silero_vad")
    folder = os.environ.get("SILERO_VAD_MODELS") or (str(Path(str(spec.origin)).parent / "data") if spec else None)
    if folder is None:
        pytest.skip("needs the package silero-vad (pip install --no-deps) or its folder `data` in SILERO_VAD_MODELS")
    request_made = ConversionRequest(
        model=Path(folder, request.param),
        wanted=(("tflite", "fp32"), ("openvino", "fp32")),
        output=tmp_path / "out",
        work=work,
        shapes={"input": (1, WINDOW + CONTEXT), "state": (2, 1, 128)},
        constants={"sr": 16000},
        reference_samples=3,
    )
    return convert(request_made, jobs)


@pytest.fixture
def golden(shared_data: Path) -> dict[str, Array]:
    with np.load(shared_data / "silero-vad" / "golden.npz", allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def test_both_targets_give_the_golden_outputs(
    converted: ConversionResult, golden: dict[str, Array], run_artifact: Run
) -> None:
    assert [one.name for one in converted.source.inputs] == ["input", "state"]
    assert converted.reference["stateN"].shape == (3, 2, 1, 128)
    inputs = {"input": golden["input"], "state": golden["state_in"][:, :, None]}
    for one in converted.artifacts:
        made = run_artifact(one.path, inputs)
        assert np.abs(made["output"].ravel() - golden["prob"]).max() <= 1e-5
        assert np.abs(made["stateN"][:, :, 0] - golden["state_out"]).max() <= 1e-5


def test_a_state_carried_through_the_whole_recording_does_not_drift(
    converted: ConversionResult, golden: dict[str, Array], shared_data: Path
) -> None:
    from ai_edge_litert.interpreter import Interpreter

    with wave.open(str(shared_data / "silero-vad" / "test.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    path = next(one.path for one in converted.artifacts if one.format == "tflite")
    run = Interpreter(str(path), num_threads=1).get_signature_runner()
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound, np.zeros(WINDOW, np.float32)])  # the last is short
    state, found = np.zeros((2, 1, 128), np.float32), []
    for start in range(0, len(golden["prob_all"]) * WINDOW, WINDOW):
        answer = run(input=padded[None, start : start + CONTEXT + WINDOW], state=state)
        state = answer["stateN"]
        found.append(answer["output"].item())
    assert np.abs(np.asarray(found) - golden["prob_all"]).max() <= 1e-5
