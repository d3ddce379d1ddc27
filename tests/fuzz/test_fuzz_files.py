"""Broken files end in exit code 0 or 3 with a sentence and nothing half-written: never a crash, a hang or a traceback.

With an accuracy gate 6 is one more way to end.

The mass runs in forks, the same files for the same seed. For a longer run, with other files:
`EDGEKIT_FUZZ_SECONDS=120 EDGEKIT_FUZZ_SEED=7 pytest tests/fuzz` gives each case two minutes.
"""

import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest

from edgekit_converters.jobs import JobRunner

SECONDS = float(os.environ.get("EDGEKIT_FUZZ_SECONDS", "2"))
SEED = int(os.environ.get("EDGEKIT_FUZZ_SEED", "0"))
DEADLINE_S = 20.0
_MOST = 1_000_000
_FEWEST = 5
_ROOT = Path(__file__).resolve().parents[2]

CASES = (
    ("onnx_mutants", ".onnx", "inspect"),
    ("onnx_mutants", ".onnx", "tflite"),
    ("onnx_mutants", ".onnx", "openvino"),
    ("onnx_mutants", ".onnx", "int8"),
    ("onnx_mutants", ".onnx", "int4"),
    ("tflite_mutants", ".tflite", "int8"),
    ("tflite_mutants", ".tflite", "int4"),
    ("tflite_mutants", ".tflite", "gate"),
    ("tflite_mutants", ".tflite", "inspect"),
    ("tflite_mutants", ".tflite", "tflite"),
    ("tflite_mutants", ".tflite", "openvino"),
    ("onnx_mutants", ".onnx", "compare"),
    ("tflite_mutants", ".tflite", "compare"),
    ("tflite_mutants", ".tflite", "evaluate"),
    ("ir_mutants", ".xml", "inspect"),
    ("ir_mutants", ".xml", "openvino"),
)


@pytest.mark.slow
@pytest.mark.timeout(10 * SECONDS + 300)
@pytest.mark.parametrize(("generator", "suffix", "command"), CASES)
def test_broken_models_are_refused_or_taken(generator: str, suffix: str, command: str, tmp_path: Path) -> None:
    answers = _fed(generator, suffix, command, tmp_path)
    assert len(answers) >= _FEWEST
    wrong = [why for one in answers if (why := _wrong(one)) is not None]
    assert not wrong, "\n\n".join(wrong)


def _fed(generator: str, suffix: str, command: str, folder: Path) -> list[dict[str, Any]]:
    whole = sorted(map(str, (_ROOT / "tests" / "data" / "models").glob(f"*{suffix}")))
    request = {
        "generator": generator,
        "command": command,
        "seed": SEED,
        "count": _MOST,
        "sources": whole,
        "folder": str(folder),
        "suffix": suffix,
        "budget_s": SECONDS,
        "deadline_s": DEADLINE_S,
    }
    path = os.pathsep.join([str(Path(__file__).parent), *filter(None, sys.path)])
    jobs = JobRunner(log=folder / "jobs.log", environment={"PYTHONPATH": path})
    answers: list[dict[str, Any]] = jobs.run("fuzz_forks", request)
    return answers


def _wrong(answer: dict[str, Any]) -> str | None:
    """Return what is wrong with how a command ended."""
    said = answer["said"]
    ended = f"{answer['model']}: {answer['died'] or answer['code']}\n{said}"
    if answer["code"] not in {0, 3, 6} or "Traceback" in said:
        return ended
    if answer["code"] and "error: " not in said:
        return f"no sentence says why: {ended}"
    # what does not run on its runtime is kept with its report; anything less is half-written
    left = [Path(one) for one in answer["left"]]
    if left and (Path("report.json") not in left or any(one.name.startswith(".") for one in left)):
        return f"it leaves {answer['left']}: {ended}"
    return None


def _edgekit(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgekit.cli.main", *map(str, words)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def _refused(*words: str | Path) -> str:
    done = _edgekit(*words)
    assert done.returncode == 3, done.stderr
    assert "error: " in done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr


@pytest.mark.slow
def test_the_command_itself_refuses_a_crash_and_a_cut_file_and_leaves_nothing(tmp_path: Path) -> None:
    sound = (_ROOT / "tests" / "data" / "models" / "conv.tflite").read_bytes()
    cut = tmp_path / "cut.tflite"
    cut.write_bytes(sound[: len(sound) // 2])
    out = tmp_path / "out"
    for target in ("tflite", "openvino"):
        _refused("convert", cut, "--to", target, "--precision", "fp32", "--no-bench", "-o", out)
        assert not out.exists()
    _refused("inspect", cut)


@pytest.mark.slow
@pytest.mark.parametrize("place", ["../secret.bin", "{outside}/secret.bin"])
@pytest.mark.parametrize("command", ["convert", "inspect"])
def test_weights_outside_the_models_folder_are_not_read(place: str, command: str, tmp_path: Path) -> None:
    onnx = pytest.importorskip("onnx")
    (tmp_path / "secret.bin").write_bytes(b"\1" * 16)
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 13]> g (float[1, 4] x) => (float[1, 4] y) { y = Add(x, w) }"""
    )
    weight = model.graph.initializer.add(name="w", data_type=1, dims=[4], data_location=onnx.TensorProto.EXTERNAL)
    for key, value in (("location", place.format(outside=tmp_path)), ("offset", "0"), ("length", "16")):
        weight.external_data.add(key=key, value=value)
    path = tmp_path / "models" / "m.onnx"
    path.parent.mkdir()
    path.write_bytes(model.SerializeToString())
    more = ["--to", "tflite", "--precision", "fp32", "--no-bench", "-o", str(tmp_path / "out")]
    _refused(command, path, *(more if command == "convert" else []))
    assert not (tmp_path / "out").exists()


# name of the archive, name of the member that unpacks to 2 GB, and the members around it
BOMBS = (
    ("m.keras", "config.json", ("metadata.json",)),
    ("m.keras", "model.weights.h5", ("config.json", "metadata.json")),
    ("m.pt2", "models/model.json", ("archive_format",)),
    ("m.pt", "code/net.py", ("constants.pkl",)),
    ("m.pt", "data/0", ("constants.pkl", "code/net.py")),
)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "large", "small"), BOMBS)
def test_an_archive_that_unpacks_to_much_more_is_not_unpacked(
    name: str, large: str, small: tuple[str, ...], tmp_path: Path
) -> None:
    path = tmp_path / name
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for one in (*small, large):
            archive.writestr(one, "{}")
        archive.getinfo(large).file_size = 2 << 30  # what the list of members says is all that is looked at
    assert "it is not unpacked" in _refused("inspect", path)
