"""Every example runs as its own text says."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


def test_converting_from_python_finds_an_artifact(repository: Path, tmp_path: Path) -> None:
    script = repository / "examples" / "convert_from_python" / "convert.py"
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"}
    answer = subprocess.run(
        [sys.executable, str(script), str(tmp_path)],
        capture_output=True, text=True, timeout=300, check=False, env=environment,
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    assert "fastest that keeps its accuracy: models/dense." in answer.stdout


@pytest.mark.parametrize("framework", ["torch", "keras"])
def test_training_for_four_bits_gets_back_what_rounding_lost(repository: Path, tmp_path: Path, framework: str) -> None:
    for needed in {"torch": ("torch", "nncf"), "keras": ("keras", "tensorflow")}[framework]:
        if importlib.util.find_spec(needed) is None:
            pytest.skip(f"needs {needed}: make setup-frameworks")
    script = repository / "examples" / "quantization_aware_training" / "train.py"
    answer = subprocess.run(
        [sys.executable, str(script), str(tmp_path), "--framework", framework],
        capture_output=True, text=True, timeout=300, check=False, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "2"},
    )  # fmt: skip
    assert answer.returncode == 0, answer.stderr
    in_float, rounded, trained = (float(share) for share in re.findall(r"([\d.]+)%", answer.stdout))
    assert rounded < in_float - 1
    assert trained > in_float - 1
    written = {"torch": {"digits.pt2", "digits.xml", "digits.bin"}, "keras": {"digits.keras"}}[framework]
    assert {one.name for one in tmp_path.iterdir()} == written | {"training.npz"}


def test_the_agents_configuration_is_right(repository: Path) -> None:
    command = [sys.executable, "-P", "-m", "edgekit_agent", "check-config", "--config"]
    command.append(str(repository / "examples" / "agent_config" / "agent.toml"))
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert answer.returncode == 0, answer.stderr
    assert "model scripted: version 1.0.0" in answer.stdout


def test_every_example_is_listed_and_tested(repository: Path) -> None:
    folders = {folder.name for folder in (repository / "examples").iterdir() if folder.is_dir()}
    listed = (repository / "examples" / "README.md").read_text()
    assert folders == {"convert_from_python", "agent_config", "quantization_aware_training"}
    assert all(f"`{name}/`" in listed for name in folders)
