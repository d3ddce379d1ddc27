"""The whole conversion, from a real model to the report, through the Python API and the command line."""

import json
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pytest

import edgekit
from edgekit._convert import convert
from edgekit._options import ConvertOptions
from edgekit._recipe import from_recipe
from edgekit.errors import DataError, EnvironmentMissingError, UsageError
from edgekit_converters.errors import CalibrationError, ModelFileError, PrecisionError

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def converted(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, edgekit.Report]:
    folder = tmp_path_factory.mktemp("out") / "digits"
    options = ConvertOptions(
        precisions=("fp32", "int8"), calib=f"{digits}/calib.npz", eval=f"{digits}/test.npz", max_drop=0.02
    )
    seen: list[edgekit.Event] = []
    report = convert(digits / "digits.keras", options, folder, seen.append)
    assert seen[0].stage == "data"
    assert seen[-1].stage == "done"
    return folder, report


def test_every_file_of_the_design_is_written(converted: tuple[Path, edgekit.Report]) -> None:
    folder, _ = converted
    names = {str(file.relative_to(folder)) for file in folder.rglob("*") if file.is_file()}
    assert names == {
        "report.json", "report.html", "golden.npz", "recipe.lock.toml", "run.log",
        "models/digits.fp32.tflite", "models/digits.int8.tflite",
        "models/digits.fp32.xml", "models/digits.fp32.bin", "models/digits.int8.xml", "models/digits.int8.bin",
    }  # fmt: skip


def test_the_report_says_what_was_measured(converted: tuple[Path, edgekit.Report]) -> None:
    folder, report = converted
    document = json.loads((folder / "report.json").read_text())
    assert document["schema"] == 1
    assert document["source"]["format"] == "keras"
    assert document["source"]["inputs"][0]["name"] == "image"
    by_name = {(one["format"], one["precision"]): one for one in document["artifacts"]}
    assert set(by_name) == {(target, how) for target in ("tflite", "openvino") for how in ("fp32", "int8")}
    for (_, how), one in by_name.items():
        assert one["status"] == "ok", one["reason"]
        assert one["size_bytes"] > 0
        assert len(one["sha256"]) == 64
        assert one["accuracy"]["samples"] == 540
        low, high = one["accuracy"]["ci95"]
        assert low < one["accuracy"]["artifact"] < high
        assert one["latency"]["kind"] == "measured"
        assert 0 < one["latency"]["p50_ms"] <= one["latency"]["p90_ms"] <= one["latency"]["p99_ms"]
        assert one["agreement"]["samples"] == 540
        if how == "fp32":
            assert one["agreement"]["max_abs"] <= 1e-5
            assert one["accuracy"]["drop"] == 0
    assert by_name["tflite", "int8"]["size_bytes"] < by_name["tflite", "fp32"]["size_bytes"]
    assert report.artifacts[0].path == "models/digits.fp32.tflite"


def test_the_page_is_whole_and_points_nowhere(converted: tuple[Path, edgekit.Report]) -> None:
    page = (converted[0] / "report.html").read_text()
    assert "tflite int8" in page
    assert "openvino int8" in page
    for outside in ("http:", "https:", "src=", "@import", "url("):
        assert outside not in page


def test_golden_vectors_are_the_sources_own(converted: tuple[Path, edgekit.Report], digits: Path) -> None:
    golden = np.load(converted[0] / "golden.npz", allow_pickle=False)
    test = np.load(digits / "test.npz", allow_pickle=False)
    assert np.array_equal(golden["input.image"], test["x"][:16])
    (name,) = (key for key in golden.files if key.startswith("output."))
    assert golden[name].shape == (16, 10)
    assert np.allclose(golden[name].sum(axis=1), 1, atol=1e-5)


def test_the_lock_repeats_the_run_to_the_byte(
    converted: tuple[Path, edgekit.Report], digits: Path, tmp_path: Path
) -> None:
    folder, _ = converted
    lock = folder / "recipe.lock.toml"
    assert tomllib.loads(lock.read_text())["lock"]["packages"]["numpy"]
    convert(digits / "digits.keras", from_recipe(lock), tmp_path / "again")
    for file in (folder / "models").iterdir():
        assert (tmp_path / "again" / "models" / file.name).read_bytes() == file.read_bytes(), file.name


def test_a_missed_gate_rejects_the_artifact_and_ends_with_6(digits: Path, tmp_path: Path) -> None:
    arguments = ["--to", "tflite", "--precision", "int8", "--calib", "random", "--max-drop", "0", "--no-bench"]
    # calibrated far outside the data's range, the net must lose accuracy
    far = np.random.default_rng(0).random((20, 8, 8, 1), np.float32)
    np.savez(tmp_path / "bad.npz", x=4000 * far)
    arguments[5] = f"{tmp_path}/bad.npz"
    arguments += ["--time-budget", "0"]  # no search for a way out
    answer = _edgekit(
        "convert", f"{digits}/digits.keras", "--eval", f"{digits}/test.npz", *arguments, "-o", f"{tmp_path}/o"
    )
    assert answer.returncode == 6, answer.stderr
    assert "top1 drops by" in answer.stderr
    assert [file.name for file in (tmp_path / "o" / "models").iterdir()] == ["digits.int8.tflite.rejected"]
    assert json.loads((tmp_path / "o" / "report.json").read_text())["artifacts"][0]["status"] == "rejected"


def _edgekit(*arguments: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edgekit.cli.main", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


def _missing(folder: Path, digits: Path) -> list[str]:  # noqa: ARG001
    return [f"{folder}/no.tflite"]


def _truncated(folder: Path, digits: Path) -> list[str]:  # noqa: ARG001
    (folder / "t.tflite").write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(40))
    return [f"{folder}/t.tflite"]


def _text_onnx(folder: Path, digits: Path) -> list[str]:  # noqa: ARG001
    (folder / "t.onnx").write_text("this is no model")
    return [f"{folder}/t.onnx"]


def _calibration_name(folder: Path, digits: Path) -> list[str]:
    np.savez(folder / "c.npz", picture=np.eye(8, dtype=np.float32)[None, ..., None])
    return [f"{digits}/digits.keras", "--calib", f"{folder}/c.npz"]


def _calibration_shape(folder: Path, digits: Path) -> list[str]:
    np.savez(folder / "c.npz", x=np.eye(8, dtype=np.float32)[None, None])
    return [f"{digits}/digits.keras", "--calib", f"{folder}/c.npz"]


def _no_calibration(folder: Path, digits: Path) -> list[str]:  # noqa: ARG001
    return [f"{digits}/digits.keras", "--precision", "int8"]


def _precision(folder: Path, digits: Path) -> list[str]:  # noqa: ARG001
    return [f"{digits}/digits.keras", "--precision", "int3"]


def _target(folder: Path, digits: Path) -> list[str]:  # noqa: ARG001
    return [f"{digits}/digits.keras", "--to", "coreml"]


@pytest.mark.parametrize(
    ("case", "code", "words"),
    [
        (_missing, 3, "no.tflite"),
        (_truncated, 3, "t.tflite"),
        (_text_onnx, 3, "t.onnx"),
        (_calibration_name, 3, "'image'"),
        (_calibration_shape, 3, "shape Nx1x8x8|shape 1x1x8x8"),
        (_no_calibration, 3, "needs calibration"),
        (_precision, 2, "int8"),
        (_target, 2, "tflite, openvino"),
    ],
    ids=lambda value: value.__name__[1:] if callable(value) else "",
)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    digits: Path, tmp_path: Path, case: "object", code: int, words: str
) -> None:
    import re

    arguments = case(tmp_path, digits)  # type: ignore[operator]
    answer = _edgekit("convert", *arguments, "--progress", "off", "-o", f"{tmp_path}/out/deep")
    assert answer.returncode == code, answer.stderr
    assert answer.stdout == ""
    lines = answer.stderr.strip().splitlines()
    assert lines[0].startswith("error: ")
    assert all(line.startswith("hint: ") for line in lines[1:]), answer.stderr
    assert re.search(words, answer.stderr)
    assert not (tmp_path / "out").exists()


def test_an_output_folder_that_cannot_be_made_is_said_before_any_work(digits: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentMissingError, match="cannot be written"):
        convert(digits / "digits.keras", ConvertOptions(), tmp_path / "file" / "out")


@pytest.mark.parametrize(
    ("options", "kind"),
    [
        ({"precisions": ("int8",)}, CalibrationError),
        ({"precisions": ("int3",)}, PrecisionError),
        ({"metric": "beauty"}, UsageError),
        ({"max_drop": 5.0, "eval": "x.npz"}, UsageError),
        ({"calib": "no.npz"}, DataError),
    ],
    ids=["no-calibration", "precision", "metric", "drop", "data"],
)
def test_the_api_raises_what_the_command_line_prints(
    digits: Path, tmp_path: Path, options: dict[str, object], kind: type[Exception]
) -> None:
    with pytest.raises(kind):
        convert(digits / "digits.keras", ConvertOptions(**options), tmp_path / "out")  # type: ignore[arg-type]
    assert not (tmp_path / "out").exists()


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"no\.h5"):
        convert(tmp_path / "no.h5", ConvertOptions(), tmp_path / "out")


def test_a_quantized_source_is_compared_as_it_stores_its_numbers(repository: Path, tmp_path: Path) -> None:
    model = repository / "tests" / "data" / "models" / "conv_int8.tflite"
    report = convert(model, ConvertOptions(bench=False), tmp_path / "out")
    assert [(one.format, one.status) for one in report.artifacts] == [("tflite", "ok"), ("openvino", "ok")]
    # OpenVINO computes with the real values behind the integers: one rounding apart
    apart = [one.agreement.max_abs if one.agreement else None for one in report.artifacts]
    assert apart == [0, pytest.approx(0, abs=1)]
