"""The frameworks' cases, each in a process of its own."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest


class Cases:
    """What the cases of a script answered, and the folder where each left its files."""

    def __init__(self, folder: Path, answers: dict[str, Any]) -> None:
        """Take what the script wrote."""
        self.folder, self._answers = folder, answers

    def __getitem__(self, name: str) -> Any:
        """Return a case's answer; fail with its traceback where it has none."""
        answer = self._answers[name]
        assert "failed" not in answer, answer["failed"]
        return answer


@pytest.fixture(scope="session")
def run_cases(repository: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Cases]:
    """Run a script of cases: `run_cases("torch_cases", needs=("torch", "nncf"))`."""

    def run(script: str, *arguments: str, needs: tuple[str, ...]) -> Cases:
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"needs {', '.join(missing)}: make setup-frameworks")
        folder = tmp_path_factory.mktemp(script)
        made = subprocess.run(
            [sys.executable, "-m", f"tests.sdk.training.{script}", str(folder), *arguments],
            capture_output=True, text=True, check=False, timeout=540, cwd=repository,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        assert made.returncode == 0, made.stderr[-3000:]
        return Cases(folder, json.loads((folder / "cases.json").read_text()))

    return run
