"""Damaged `.tflite` files: refused or run, and never the end of the process."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes import _tflite_file

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"
# every file given is loaded and run once; a line is written after each, so that a crash shows where it happened
CHILD = """
import json, resource, sys
resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30))  # a turned bit may ask for more than the machine has
from pathlib import Path
from edgekit_agent import feeds, runtimes
from edgekit_agent.errors import AgentError
runtime = runtimes.get(sys.argv[1])
for name in sys.argv[2:]:
    try:
        session = runtime.load(Path(name))
        for arrays in feeds.synthetic(session.inputs, 0, 1):
            session.invoke(arrays)
        print(json.dumps([name, "ran"]), flush=True)
    except (AgentError, MemoryError) as exc:  # what a worker takes for a refusal
        print(json.dumps([name, type(exc).__name__]), flush=True)
"""


def in_a_child(python: str, runtime: str, files: list[Path], repository: Path) -> tuple[int, dict[str, str], str]:
    """Return the child's exit code, what became of each file, and its last words."""
    done = subprocess.run(
        [python, "-X", "faulthandler", "-c", CHILD, runtime, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
        env={**os.environ, "PYTHONPATH": str(repository / "agent")},
    )
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    return done.returncode, {Path(name).name: what for name, what in lines}, done.stderr[-2000:]


def truncated(folder: Path) -> list[Path]:
    """Every model cut at 24 places."""
    files = []
    for model in sorted(MODELS.glob("*.tflite")):
        content = model.read_bytes()
        for part in range(24):
            files.append(folder / f"{model.stem}-{part}.tflite")
            files[-1].write_bytes(content[: len(content) * part // 24])
    return files


def flipped(folder: Path, count: int) -> list[Path]:
    """Models with one bit turned, at places spread over the whole file."""
    files = []
    for model in sorted(MODELS.glob("*.tflite")):
        content = model.read_bytes()
        for number in range(count):
            bit = number * len(content) * 8 // count + number % 8
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << bit % 8
            files.append(folder / f"{model.stem}-bit{bit}.tflite")
            files[-1].write_bytes(damaged)
    return files


@pytest.fixture(params=["ai-edge-litert", "openvino", "tflite-runtime"])
def runtime(request: pytest.FixtureRequest) -> tuple[str, str]:
    """The interpreter that has a runtime, and the runtime's name."""
    name = str(request.param)
    if name == "tflite-runtime":
        python = os.environ.get("EDGEKIT_DEVICE_PYTHON")
        if not python:
            pytest.skip("needs the device's environment: set EDGEKIT_DEVICE_PYTHON (make setup)")
        return python, name
    pytest.importorskip(name.replace("-", "_"), reason=f"needs {name}")
    return sys.executable, name


@pytest.mark.slow
def test_every_truncated_file_is_refused(runtime: tuple[str, str], tmp_path: Path, repository: Path) -> None:
    files = truncated(tmp_path)
    code, found, words = in_a_child(*runtime, files, repository)
    assert code == 0, words
    assert set(found.values()) == {"ModelError"}
    assert len(found) == len(files)


@pytest.mark.slow
def test_no_turned_bit_ends_the_process(runtime: tuple[str, str], tmp_path: Path, repository: Path) -> None:
    files = flipped(tmp_path, 100)
    code, found, words = in_a_child(*runtime, files, repository)
    assert code == 0, words
    assert len(found) == len(files)


@settings(max_examples=300, deadline=None)
@given(content=st.binary(max_size=400), cut=st.integers(0, 400))
def test_reading_a_file_s_ports_raises_only_the_error_it_promises(content: bytes, cut: int) -> None:
    """Random bytes over a real file: the reader itself must not fall over."""
    real = bytearray((MODELS / "two.tflite").read_bytes())
    real[cut : cut + len(content)] = content
    try:
        inputs, outputs = _tflite_file.ports(bytes(real))
    except ModelError:
        return
    assert len(inputs) + len(outputs) < len(real)


def test_ports_are_named_by_the_signature_and_carry_their_scale() -> None:
    inputs, outputs = _tflite_file.ports((MODELS / "two.tflite").read_bytes())
    assert [port.name for port in inputs] == ["zeta", "alpha"]
    assert sorted(port.name for port in outputs) == ["difference", "total"]
    (image,), (scores,) = _tflite_file.ports((MODELS / "conv_int8.tflite").read_bytes())
    assert (image.name, image.zero_point) == ("image", (-128,))
    assert image.scale[0] == pytest.approx(1 / 255, rel=0.01)
    assert scores.name == "scores"
