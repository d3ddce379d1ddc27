"""Fixtures of the gate's tests: a net that plain int8 makes much worse, and the command in a process of its own."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from edgekit._convert import convert
from edgekit._options import ConvertOptions
from tests.converters.quantize import hard_nets


@pytest.fixture(scope="session")
def hard(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with hard.onnx, hard.tflite, calib.npz and test.npz."""
    folder = tmp_path_factory.mktemp("hard")
    model = hard_nets.write(folder)
    convert(model, ConvertOptions(to=("tflite",), bench=False), folder / "float")
    (folder / "float" / "models" / "hard.fp32.tflite").rename(folder / "hard.tflite")
    return folder


@pytest.fixture(scope="session")
def command() -> Callable[..., list[str]]:
    """Return the words of `edgekit convert` on a hard net's data."""

    def words(folder: Path, output: Path, *more: str, model: str = "hard.tflite", bench: bool = False) -> list[str]:
        data = ["--calib", f"{folder}/calib.npz", "--eval", f"{folder}/test.npz", "--progress", "plain"]
        quick = () if bench else ("--no-bench",)
        return [
            *(sys.executable, "-m", "edgekit.cli.main", "convert", f"{folder}/{model}"),
            *(*data, *quick, "-o", str(output), *more),
        ]

    return words


@pytest.fixture(scope="session")
def run() -> Callable[[list[str]], "subprocess.CompletedProcess[str]"]:
    def once(words: list[str]) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(words, capture_output=True, text=True, timeout=500, check=False)

    return once


@pytest.fixture
def converted(
    hard: Path,
    command: Callable[..., list[str]],
    run: Callable[[list[str]], "subprocess.CompletedProcess[str]"],
    tmp_path: Path,
) -> Callable[..., "subprocess.CompletedProcess[str]"]:
    """Convert the hard net to TFLite int8 in the folder `o`, with more options."""
    return lambda *more: run(command(hard, tmp_path / "o", "--to", "tflite", "--precision", "int8", *more))
