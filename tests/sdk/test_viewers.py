"""A model is handed over to a program that draws models."""

import importlib.util
import os
import re
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from edgekit._viewers import VIEWERS

# What the viewers' packages look like from here: what they are called with, and by which process.
_PROGRAMS = {
    "netron": "def start(file, address):\n    print(__import__('os').getpid(), file, address[0])\ndef wait(): pass\n",
    "model_explorer": "def visualize(file, host):\n    print(__import__('os').getpid(), file, host)\n",
}


def _command(model: Path, viewer: str) -> list[str]:
    return [sys.executable, "-m", "edgekit.cli.main", "inspect", str(model), "--open-with", viewer, "--progress", "off"]


@pytest.mark.parametrize("name", VIEWERS)
def test_the_viewer_takes_the_place_of_the_command_and_listens_to_this_machine_only(
    name: str, repository: Path, tmp_path: Path
) -> None:
    model, module = repository / "tests/data/models/conv.tflite", VIEWERS[name].module
    (tmp_path / f"{module}.py").write_text(_PROGRAMS[module])
    paths = os.pathsep.join(filter(None, (str(tmp_path), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        _command(model, name), stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": paths}
    ) as child:
        said, _ = child.communicate(timeout=120)
    assert child.returncode == 0
    assert said.splitlines()[-1] == f"{child.pid} {model} 127.0.0.1"


def test_netron_serves_the_model_until_the_command_is_ended(repository: Path) -> None:
    if importlib.util.find_spec("netron") is None:
        pytest.skip("needs the package netron")
    model = repository / "tests/data/models/conv.tflite"
    environment = {**os.environ, "BROWSER": "true", "PYTHONUNBUFFERED": "1"}
    with subprocess.Popen(
        _command(model, "netron"), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment
    ) as child:
        too_long = threading.Timer(60, child.kill)
        too_long.start()
        try:
            assert child.stdout is not None
            port = next(int(found[1]) for line in child.stdout if (found := re.search(r"//127\.0\.0\.1:(\d+)", line)))
            socket.create_connection(("127.0.0.1", port), timeout=30).close()
        finally:
            too_long.cancel()
            child.terminate()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=30)


@pytest.mark.parametrize(
    ("viewer", "code", "said"),
    [
        ("netron", 4, "pip install netron"),
        ("model-explorer", 4, "pip install ai-edge-model-explorer"),
        ("paint", 2, "there is no viewer 'paint'; there are: netron, model-explorer"),
    ],
)
def test_a_viewer_that_is_not_there_is_told_before_the_work(
    viewer: str, code: int, said: str, repository: Path
) -> None:
    if viewer in VIEWERS and importlib.util.find_spec(VIEWERS[viewer].module) is not None:
        pytest.skip(f"needs an environment without {viewer}")
    command = _command(repository / "tests/data/models/conv.tflite", viewer)
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == code
    assert said in done.stderr
    assert not done.stdout
