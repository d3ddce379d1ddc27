"""What all tests share."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
SHARED = ROOT.parent / "shared" / "data"


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
