"""A recurrent network with branches and a state that its caller carries: Silero VAD, against its golden outputs."""

import importlib.util
import os
import wave
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgekit_agent import runtimes
from edgekit_converters import ConversionRequest, ConversionResult, convert
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Array

pytestmark = [pytest.mark.slow, pytest.mark.shared_data]

WINDOW, CONTEXT = 512, 64


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


def step(path: Path) -> Callable[[Array, Array], tuple[float, Array]]:
    """Return a function from a window and a state to the probability of speech and the next state."""
    session = runtimes.choose(path, runtimes.AUTO).load(path)
    assert [one.name for one in session.inputs] == ["input", "state"]
    assert [one.name for one in session.outputs] == ["output", "stateN"]

    def run(window: Array, state: Array) -> tuple[float, Array]:
        probability, state = session.invoke([window.reshape(1, WINDOW + CONTEXT), state.reshape(2, 1, 128)])
        return probability.item(), np.array(state)

    return run


def test_both_targets_give_the_golden_outputs(converted: ConversionResult, golden: dict[str, Array]) -> None:
    assert converted.reference["stateN"].shape == (3, 2, 1, 128)
    for artifact in converted.artifacts:
        run = step(artifact.path)
        for place, window in enumerate(golden["input"]):
            probability, state = run(window, golden["state_in"][place])
            assert abs(probability - golden["prob"][place]) <= 1e-5
            assert np.abs(state[:, 0] - golden["state_out"][place]).max() <= 1e-5


def test_a_state_carried_through_the_whole_recording_does_not_drift(
    converted: ConversionResult, golden: dict[str, Array], shared_data: Path
) -> None:
    with wave.open(str(shared_data / "silero-vad" / "test.wav")) as file:
        sound = np.frombuffer(file.readframes(file.getnframes()), np.int16).astype(np.float32) / 32768
    padded = np.concatenate([np.zeros(CONTEXT, np.float32), sound])
    for artifact in converted.artifacts:
        run = step(artifact.path)
        state: Array = np.zeros((2, 1, 128), np.float32)
        for place, wanted in enumerate(golden["prob_all"]):
            probability, state = run(padded[place * WINDOW :][: CONTEXT + WINDOW], state)
            assert abs(probability - wanted) <= 1e-5, place
