"""Scoring a model: quantized inputs get exactly their values, and settings travel in the report beside the model."""

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import edgekit
from edgekit._metrics import half_width
from edgekit._report import sha256
from edgekit.cli import main
from edgekit.errors import DataError, UsageError

MODELS = Path(__file__).resolve().parents[1] / "data" / "models"
PIXELS = {"scale": 1 / 255}


def interpreted(model: Path, stored: Any) -> Any:
    """Return the int8 outputs of int8 inputs, by the library itself."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    interpreter.allocate_tensors()
    rows = []
    for one in stored:
        interpreter.set_tensor(interpreter.get_input_details()[0]["index"], one[None])
        interpreter.invoke()
        rows.append(interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0])
    return np.stack(rows)


def by_hand(model: Path, real: Any) -> Any:
    """Quantize, run and dequantize with the formulas of the file's own scales and zero points."""
    from ai_edge_litert.interpreter import Interpreter

    interpreter = Interpreter(str(model))
    (scale, zero), (out_scale, out_zero) = (
        one[0]["quantization"] for one in (interpreter.get_input_details(), interpreter.get_output_details())
    )
    stored = np.clip(np.rint(real / np.float32(scale)) + zero, -128, 127).astype(np.int8)
    return (interpreted(model, stored).astype(np.float32) - out_zero) * np.float32(out_scale), stored


@pytest.fixture
def quantized(tmp_path: Path, rng: np.random.Generator) -> Path:
    """A folder with a model of int8 inputs and outputs, real inputs, stored inputs, and its outputs worked out."""
    model = MODELS / "conv_int8.tflite"
    real = rng.random((20, 8, 8, 3), dtype=np.float32)
    wanted, stored = by_hand(model, real)
    np.savez(tmp_path / "real.npz", x=real, y=wanted)
    np.savez(tmp_path / "stored.npz", x=stored, y=wanted)
    np.savez(tmp_path / "classes.npz", image=real, y=wanted.argmax(axis=1))
    return tmp_path


@pytest.mark.slow
@pytest.mark.parametrize("data", ["real.npz", "stored.npz"])
def test_a_quantized_model_gets_and_gives_real_values(quantized: Path, data: str) -> None:
    got = edgekit.evaluate(MODELS / "conv_int8.tflite", str(quantized / data), metric="mae")
    assert got.accuracy.artifact == 0
    assert got.warnings == ()
    document: Any = got.to_json()
    (rim,) = document["inputs"]
    assert (rim["dtype"], rim["zero_point"]) == ("int8", [-128])
    assert document["report"] is None


@pytest.mark.slow
def test_real_values_on_another_scale_are_warned_of(quantized: Path) -> None:
    with np.load(quantized / "real.npz") as archive:
        np.savez(quantized / "raw.npz", x=archive["x"] * 255, y=archive["y"])
    (warning,) = edgekit.evaluate(MODELS / "conv_int8.tflite", str(quantized / "raw.npz"), metric="mae").warnings
    assert "raw pixels, 0..255 against 0..1?" in warning


@pytest.mark.slow
def test_a_source_model_is_run_by_its_own_framework(quantized: Path) -> None:
    got = edgekit.evaluate(MODELS / "dense.tflite", _rows(quantized), metric="top1")
    assert 0 <= got.accuracy.artifact <= 1
    assert half_width(got.accuracy) > 0
    assert str(got).startswith("top1 ")


def _rows(folder: Path) -> str:
    rng = np.random.default_rng(1)
    lines = ["a,b,c,d,label", *(f"{','.join(map(str, rng.normal(size=4)))},{n % 3}" for n in range(30))]
    (folder / "rows.csv").write_text("\n".join(lines))
    return str(folder / "rows.csv")


@pytest.fixture
def run(tmp_path: Path, rng: np.random.Generator) -> tuple[Path, Path]:
    """A conversion's folder whose report says how images were prepared, and a folder of images of five classes."""
    folder, photos = tmp_path / "run", tmp_path / "photos"
    (folder / "models").mkdir(parents=True)
    model = Path(shutil.copy(MODELS / "conv_int8.tflite", folder / "models"))
    report = {
        "schema": 1,
        "artifacts": [{"sha256": None}, {"sha256": sha256(model)}],
        "data": {"metric": "f1"},
        "preprocess": {**PIXELS, "resize": [8, 8]},
    }
    (folder / "report.json").write_text(json.dumps(report))
    for number in range(10):
        (photos / str(number % 5)).mkdir(parents=True, exist_ok=True)
        picture = rng.integers(0, 256, (12, 10, 3), dtype=np.uint8)
        Image.fromarray(picture).save(photos / str(number % 5) / f"{number}.png")
    return model, photos


@pytest.mark.slow
def test_preprocessing_and_metric_travel_in_the_report(run: tuple[Path, Path]) -> None:
    model, photos = run
    travelled = edgekit.evaluate(model, str(photos))
    assert travelled.report == str(model.parent.parent / "report.json")
    assert travelled.accuracy.metric == "f1"
    assert travelled.preprocess == {**PIXELS, "resize": [8, 8]}
    given = edgekit.evaluate(
        MODELS / "conv_int8.tflite", str(photos), metric="f1", preprocess={**PIXELS, "resize": (8, 8)}
    )
    assert given.report is None
    assert given.accuracy == travelled.accuracy
    # what is given counts
    assert edgekit.evaluate(model, str(photos), metric="top1").accuracy.metric == "top1"


def test_a_report_of_another_file_says_nothing(run: tuple[Path, Path]) -> None:
    model, photos = run
    model.write_bytes(model.read_bytes() + b"\0")
    Image.new("RGB", (3, 3)).save(photos / "0" / "small.png")
    with pytest.raises(DataError, match="has shape"):  # no resize: images keep their size
        edgekit.evaluate(model, str(photos))


@pytest.mark.parametrize(
    "text", ["{", "[]", '{"schema": 2}', '{"schema": 1}', '{"schema": 1, "artifacts": [], "data": {}, "preprocess": 3}']
)
def test_a_broken_report_is_one_sentence_and_not_needed(run: tuple[Path, Path], text: str) -> None:
    model, photos = run
    (model.parent.parent / "report.json").write_text(text)
    with pytest.raises(DataError, match=r"report '.*report\.json' beside the model cannot be read") as caught:
        edgekit.evaluate(model, str(photos))
    assert "not needed" in caught.value.__notes__[0]
    with pytest.raises(UsageError, match="no metric"):
        edgekit.evaluate(model, str(photos), metric="nope", preprocess={})


@pytest.fixture
def current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def end(monkeypatch: pytest.MonkeyPatch, words: Sequence[str]) -> int:
    monkeypatch.setattr(sys, "argv", ["edgekit", "evaluate", *words])
    with pytest.raises(SystemExit) as caught:
        main.main()
    return int(caught.value.code or 0)


@pytest.mark.slow
def test_the_command_prints_one_document_and_says_whose_settings_it_took(
    run: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    model, photos = run
    assert end(monkeypatch, [str(model), "--data", str(photos), "--json"]) == 0
    printed = capsys.readouterr()
    document = json.loads(printed.out)
    assert document["accuracy"]["metric"] == "f1"
    assert document["accuracy"]["drop_ci95"] is None
    assert document["preprocess"]["resize"] == [8, 8]
    assert "settings not given are those of" in printed.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        (["--metric", "nope"], 2, "there is no metric 'nope'"),
        (["--metric", "no_module:f"], 3, "there is no module 'no_module'"),
        (["--preprocess", "reszie=3"], 2, "preprocess has no 'reszie'"),
        (["--preprocess", "rate=0"], 2, "'rate'"),
        (["--data", "gone.npz"], 3, "does not exist"),
        (["--data", "bare.npy"], 3, "has no labels: top1 needs y"),
        (["--data", "nan.csv", "--metric", "mae"], 3, "evaluation data 'nan.csv' holds NaN or infinite values in 'x'"),
    ],
)
@pytest.mark.usefixtures("current_folder")
def test_what_is_wrong_has_its_exit_code(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], words: list[str], code: int, says: str
) -> None:
    np.savez("good.npz", x=np.zeros((2, 8, 8, 3), np.float32), y=np.zeros(2))
    np.save("bare.npy", np.zeros((2, 8, 8, 3), np.float32))
    Path("nan.csv").write_text("a,y\nnan,1\n2,3\n")
    given = words if "--data" in words else [*words, "--data", "good.npz"]
    assert end(monkeypatch, [str(MODELS / "conv_int8.tflite"), *given]) == code
    assert says in capsys.readouterr().err


@pytest.mark.slow
@pytest.mark.shared_data
def test_a_real_uint8_classifier_has_its_published_accuracy(shared_data: Path, tmp_path: Path) -> None:
    import zipfile

    with zipfile.ZipFile(shared_data / "imagenet250" / "images.zip") as archive:
        for name in archive.namelist():
            folder = tmp_path / str(int(Path(name).name.partition("_")[0]) + 1)
            folder.mkdir(exist_ok=True)
            (folder / Path(name).name).write_bytes(archive.read(name))
    model = shared_data / "imagenet250" / "mobilenet_v1_0.25_128_quant.tflite"
    how = {"resize": (128, 128), "mean": 128, "std": 128}
    got = edgekit.evaluate(model, str(tmp_path), preprocess=how)
    # measured with the original runtime: 45.6 %
    assert got.accuracy.artifact == pytest.approx(0.456)
    best_five = edgekit.evaluate(model, str(tmp_path), metric="top5", preprocess=how)
    assert best_five.accuracy.artifact == pytest.approx(0.724)
