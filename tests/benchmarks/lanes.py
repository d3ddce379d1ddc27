"""Ways from a network to a float TFLite, each a command of its own, for the benchmarks that hold them side by side.

EdgeKit and TensorFlow run in this environment. Others are run where a variable names an interpreter that has them:
`EDGEKIT_LITERT_TORCH_PYTHON` (`pip install litert-torch`), `EDGEKIT_ONNX2TF_PYTHON` (`pip install onnx2tf`).
"""

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

SAMPLING_S = 0.02

_LITERT_TORCH = """
import sys, torch, litert_torch
program = torch.export.load(sys.argv[1])
example = tuple(torch.zeros([int(size) for size in one.split("x")]) for one in sys.argv[3:])
litert_torch.convert(program.module(), example).export(sys.argv[2])
"""

_TENSORFLOW = """
import sys, tensorflow as tf
model = tf.keras.models.load_model(sys.argv[1], compile=False)
open(sys.argv[2], "wb").write(tf.lite.TFLiteConverter.from_keras_model(model).convert())
"""


class NotHereError(Exception):
    """The lane's tool is not installed; the text says how it can be."""


@dataclass(frozen=True)
class Lane:
    """One way: `command(source, folder)` is what runs, and it leaves a `.tflite` somewhere in `folder`."""

    name: str
    suffix: str
    command: Callable[[Path, Path], list[str]]


@dataclass(frozen=True)
class Run:
    """One run: wall clock in seconds, the largest sum of resident bytes of its processes, and its file."""

    seconds: float
    peak_bytes: int
    tflite: Path


def edgekit(source: Path, folder: Path) -> list[str]:
    """Return the whole command line with the proof beside the source; only the timing of the artifact is left out."""
    asked = ["--to", "tflite", "--precision", "fp32", "--no-bench"]
    command = str(Path(sys.executable).with_name("edgekit"))
    return [command, "convert", str(source), *asked, "-o", str(folder / "out")]


def tensorflow(source: Path, folder: Path) -> list[str]:
    """Return TensorFlow's own converter, on a Keras model."""
    return [sys.executable, "-c", _TENSORFLOW, str(source), str(folder / "out.tflite")]


def litert_torch(source: Path, folder: Path) -> list[str]:
    """Return litert-torch, on an exported program of one image of 224 x 224.

    Raises:
        NotHereError: no interpreter is named.
    """
    python = _python("EDGEKIT_LITERT_TORCH_PYTHON", "litert-torch")
    return [python, "-c", _LITERT_TORCH, str(source), str(folder / "out.tflite"), "1x3x224x224"]


def onnx2tf(source: Path, folder: Path) -> list[str]:
    """Return onnx2tf, on ONNX; the photos it would fetch from the net to check itself are noise lying there already.

    Raises:
        NotHereError: no interpreter is named.
    """
    python = _python("EDGEKIT_ONNX2TF_PYTHON", "onnx2tf")
    photos = np.random.default_rng(0).random((20, 128, 128, 3), dtype=np.float32)
    np.save(folder / "calibration_image_sample_data_20x128x128x3_float32.npy", photos)
    return [python, "-m", "onnx2tf", "-i", str(source), "-o", str(folder / "out"), "-n"]


LANES = (
    Lane("edgekit", ".onnx", edgekit),
    Lane("tensorflow", ".keras", tensorflow),
    Lane("litert-torch", ".pt2", litert_torch),
    Lane("onnx2tf", ".onnx", onnx2tf),
)


def run(lane: Lane, source: Path, folder: Path) -> Run:
    """Run a lane to its end in a new folder and find its float file.

    Raises:
        NotHereError: its tool is not there, or it failed, with the last line it said.
    """
    folder.mkdir(parents=True)
    command = lane.command(source, folder)
    log = folder / "log"
    start = time.perf_counter()
    with log.open("wb") as sink:
        process = subprocess.Popen(command, stdout=sink, stderr=sink, stdin=subprocess.DEVNULL, cwd=folder)
        peak = _Peak(process.pid)
        code = process.wait()
    seconds = time.perf_counter() - start
    files = [one for one in sorted(folder.rglob("*.tflite")) if "float16" not in one.name]
    if code or not files:
        said = log.read_text(errors="replace").strip().splitlines()
        raise NotHereError(f"it ended with {code}: {said[-1] if said else 'nothing said'}")
    return Run(seconds, peak.stop(), files[0])


class _Peak:
    """The largest sum of the resident sets of a process and all below it, sampled."""

    def __init__(self, pid: int) -> None:
        self._pid, self._bytes, self._over = pid, 0, threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self._thread.start()

    def _sample(self) -> None:
        import psutil

        while not self._over.wait(SAMPLING_S):
            try:
                top = psutil.Process(self._pid)
                tree = [top, *top.children(recursive=True)]
                self._bytes = max(self._bytes, sum(one.memory_info().rss for one in tree))
            except psutil.NoSuchProcess:
                continue

    def stop(self) -> int:
        self._over.set()
        self._thread.join()
        return self._bytes


def _python(variable: str, package: str) -> str:
    named = os.environ.get(variable)
    if not named:
        raise NotHereError(f"set {variable} to an interpreter that has {package}")
    return named
