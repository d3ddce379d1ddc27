"""A device with nothing but the agent: no NumPy, no runtime. What is missing is said in words."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit_agent.config import ModelConfig
from edgekit_agent.orders import orders_of


@pytest.fixture
def bare(repository: Path) -> list[str]:
    """An interpreter that sees the standard library and the agent, nothing installed."""
    return ["env", f"PYTHONPATH={repository / 'agent'}", sys.executable, "-S", "-P", "-m"]


def _refusal(bare: list[str], model: Path) -> dict[str, object]:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        ours.settimeout(60)
        ours.send(orders_of(ModelConfig(name="m", path=str(model))))
        command = [*bare, "edgekit_agent.worker", str(theirs.fileno()), str(os.getpid())]
        done = subprocess.run(command, pass_fds=[theirs.fileno()], capture_output=True, check=False, timeout=60)
        assert (done.returncode, done.stderr) == (3, b"")
        answer: dict[str, object] = json.loads(ours.recv(1 << 20))
    return answer


def test_a_worker_without_a_runtime_says_what_to_install(bare: list[str], models: Path) -> None:
    answer = _refusal(bare, models / "conv.tflite")
    assert (answer["type"], answer["code"]) == ("refused", "runtime-missing")
    assert answer["hints"] == ["pip install ai-edge-litert", "pip install tflite-runtime", "pip install openvino"]


def test_a_worker_without_numpy_says_so(bare: list[str], tmp_path: Path) -> None:
    script = {"inputs": [{"name": "x", "shape": [1], "dtype": "float32"}], "outputs": []}
    model = tmp_path / "m.null"
    model.write_text(json.dumps(script))
    answer = _refusal(bare, model)
    assert (answer["type"], answer["code"]) == ("refused", "runtime-missing")
    assert "numpy" in str(answer["text"])


@pytest.mark.parametrize(
    ("command", "code", "told"),
    [
        (["bench", "conv.tflite"], 3, "error: 'numpy' is not installed"),
        (["probe"], 0, "pip install 'edgekit-agent[tflite]'"),
    ],
    ids=["bench", "probe"],
)
def test_a_command_says_what_to_install(
    bare: list[str], models: Path, command: list[str], code: int, told: str
) -> None:
    arguments = [str(models / one) if one.endswith(".tflite") else one for one in command]
    done = subprocess.run([*bare, "edgekit_agent", *arguments], capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == code
    assert told in done.stdout + done.stderr
    assert "Traceback" not in done.stderr
