"""Calibration that cannot be right is refused or told of: in the terminal, in the report and by the exit code."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytestmark = pytest.mark.slow

Converted = Callable[..., "subprocess.CompletedProcess[str]"]
Run = Callable[[list[str]], "subprocess.CompletedProcess[str]"]

RNG = np.random.default_rng(0)
GOOD = RNG.normal(size=(20, 3, 8, 8)).astype(np.float32)


def _with(value: float) -> Any:
    spoilt = GOOD.copy()
    spoilt[3, 1, 2, 2] = value
    return spoilt


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        ({"x": _with(np.nan)}, "holds NaN or infinite values"),
        ({"x": _with(-np.inf)}, "holds NaN or infinite values"),
        ({"picture": GOOD}, "image"),
        ({"x": GOOD[:, :, :7]}, "shape"),
        ({"x": GOOD[:0]}, "no samples"),
        ({"x": GOOD.astype(str)}, "has dtype"),
    ],
    ids=["nan", "infinite", "name", "shape", "empty", "text"],
)
def test_data_that_cannot_give_a_result_is_refused(
    calibration: dict[str, Any], words: str, converted: Converted, tmp_path: Path
) -> None:
    np.savez(tmp_path / "c.npz", **calibration)
    done = converted("--calib", f"{tmp_path}/c.npz")
    assert done.returncode == 3, done.stderr
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert words in error
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("calibration", "words"),
    [
        (GOOD[:1], "one sample"),
        (np.full_like(GOOD, 0.5), "constant|same"),
        (GOOD * 255, "255"),
        (GOOD * 0.001, "beyond are cut off"),
    ],
    ids=["one", "constant", "0..255 against 0..1", "narrow"],
)
def test_data_that_looks_wrong_is_warned_of_or_refused(
    calibration: Any, words: str, converted: Converted, tmp_path: Path
) -> None:
    np.savez(tmp_path / "c.npz", x=calibration)
    done = converted("--calib", f"{tmp_path}/c.npz")
    said = done.stdout + done.stderr
    assert any(word in said for word in words.split("|")), said
    assert done.returncode in {0, 3}
    if done.returncode == 0:
        warnings = json.loads((tmp_path / "o" / "report.json").read_text())["warnings"]
        assert any(word in one for one in warnings for word in words.split("|"))


def test_the_declared_preprocessing_and_the_scales_are_in_the_report(converted: Converted, tmp_path: Path) -> None:
    done = converted("--io-dtype", "quantized", "--preprocess", "scale=0.5")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "o" / "report.json").read_text())
    (artifact,) = report["artifacts"]
    assert report["preprocess"] == {"scale": 0.5}
    for rim in (*artifact["inputs"], *artifact["outputs"]):
        assert rim["dtype"] == "int8"
        assert rim["scale"][0] > 0
        assert len(rim["zero_point"]) == 1


def test_evaluate_gives_a_quantized_rim_the_accuracy_that_convert_saw(
    converted: Converted, run: Run, hard: Path, tmp_path: Path
) -> None:
    assert converted("--precision", "int16x8", "--io-dtype", "quantized").returncode == 0
    artifacts = json.loads((tmp_path / "o" / "report.json").read_text())["artifacts"]
    for artifact, dtype in zip(artifacts, ("int8", "int16"), strict=True):
        assert artifact["inputs"][0]["dtype"] == dtype
        file = f"{tmp_path}/o/{artifact['path']}"
        words = ("evaluate", file, "--data", f"{hard}/test.npz", "--json")
        done = run([sys.executable, "-m", "edgekit.cli.main", *words])
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["accuracy"]["artifact"] == pytest.approx(artifact["accuracy"]["artifact"])
