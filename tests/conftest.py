"""What all tests share."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


WAITING = ("e2e", "soak")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what waits longest: begun last, it would be waited for by all the other processes."""
    items.sort(key=lambda item: item.path.relative_to(ROOT / "tests").parts[0] not in WAITING)


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return ROOT


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real models and labelled data; tests that need it skip where it is absent."""
    if not SHARED.is_dir():
        pytest.skip("needs the real models and data in ../shared/data")
    return SHARED


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20260101)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep a user's settings out: colours, widths, and EdgeKit's own variables but the device's interpreter."""
    for name in list(os.environ):
        if name.startswith("EDGEKIT_") and name != "EDGEKIT_DEVICE_PYTHON":
            monkeypatch.delenv(name)
    monkeypatch.setenv("NO_COLOR", "1")
    monkeypatch.setenv("COLUMNS", "140")


@pytest.fixture(scope="session")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small convolutional net trained on real digits: digits.keras, calib.npz, test.npz."""
    from edgekit_converters.jobs import JobRunner

    folder = tmp_path_factory.mktemp("digits")
    JobRunner(log=folder / "train.log").run("edgekit._digits", {"folder": str(folder), "seed": 0})
    return folder


@pytest.fixture(scope="session")
def damaged() -> Callable[[bytes, str, int], bytes]:
    """Return a TFLite file whose constant of that name is kept in so many bits."""
    return _damaged


def _damaged(data: bytes, name: str, bits: int) -> bytes:
    import flatbuffers
    from ai_edge_litert import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(bytearray(data), 0)
    tensor: Any = next(one for one in model.subgraphs[0].tensors if one.name.decode() == name)
    weights = np.frombuffer(bytes(model.buffers[tensor.buffer].data), np.float32)
    step = float(np.abs(weights).max()) / (2 ** (bits - 1) - 1)
    coarse = (np.rint(weights / step) * step).astype(np.float32)
    model.buffers[tensor.buffer].data = np.frombuffer(coarse.tobytes(), np.uint8)
    builder = flatbuffers.Builder(len(data))
    builder.Finish(model.Pack(builder), file_identifier=b"TFL3")
    return bytes(builder.Output())


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
    """Run a script of cases, of `tests`: `run_cases("sdk.training.torch_cases", needs=("torch", "nncf"))`."""

    def run(script: str, *arguments: str, needs: tuple[str, ...]) -> Cases:
        missing = [name for name in needs if importlib.util.find_spec(name) is None]
        if missing:
            pytest.skip(f"needs {', '.join(missing)}: make setup-frameworks")
        folder = tmp_path_factory.mktemp(script.rpartition(".")[2])
        made = subprocess.run(
            [sys.executable, "-m", f"tests.{script}", str(folder), *arguments],
            capture_output=True, text=True, check=False, timeout=540, cwd=repository,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"},
        )  # fmt: skip
        assert made.returncode == 0, made.stderr[-3000:]
        return Cases(folder, json.loads((folder / "cases.json").read_text()))

    return run
