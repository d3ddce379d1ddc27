"""`edgekit compress`: steps from the command line and from recipes, their ledger, and what is refused."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow


def run(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "edgekit.cli.main", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)


COMBINED = """
schema = 1
[convert]
precisions = ["int8"]
seed = 7
[[compress]]
technique = "prune-channels"
macs = 0.6
[[compress]]
technique = "factorize"
energy = 0.98
[[compress]]
technique = "fuse"
"""


@pytest.fixture(scope="module")
def compressed(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    """A Keras net snapped twice, its folder, its report and what was printed."""
    steps = ("-t", "snap:grid=nf4", "-t", "snap:bits=2,layers=op:Conv")
    return _made("compress", digits, tmp_path_factory.mktemp("compressed") / "out", *steps)


@pytest.fixture(scope="module")
def combined(digits: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Any, str]:
    """The same net pruned, factorized, fused and quantized by one recipe."""
    folder = tmp_path_factory.mktemp("combined")
    recipe = folder / "r.toml"
    recipe.write_text(COMBINED)
    return _made("convert", digits, folder / "out", "--recipe", str(recipe), "--no-bench")


def _made(command: str, digits: Path, folder: Path, *words: str) -> tuple[Path, Any, str]:
    data = ("--calib", f"{digits}/calib.npz", "--eval", f"{digits}/test.npz")
    done = run(command, f"{digits}/digits.keras", *words, *data, "--explain", "-o", str(folder))
    assert done.returncode == 0, done.stderr
    return folder, json.loads((folder / "report.json").read_text()), done.stdout


def test_every_step_has_the_model_before_and_behind_it(compressed: tuple[Path, Any, str]) -> None:
    _, report, printed = compressed
    first, second = report["compression"]
    assert (first["text"], second["text"]) == ("snap:grid=nf4", "snap:bits=2,layers=op:Conv")
    assert first["after"] == second["before"]
    for state in (first["before"], first["after"], second["after"]):
        assert state["parameters"] > 0
        assert state["macs"] > 0
        assert set(state["bytes"]) == set(state["p50_ms"]) == {"tflite", "openvino"}
        assert state["accuracy"]["samples"] == 540
    assert first["before"]["accuracy"]["drop"] == pytest.approx(0, abs=0.002)
    assert second["after"]["accuracy"]["artifact"] < first["before"]["accuracy"]["artifact"]
    assert {one["what"] for one in first["changes"]} == {"moved to nf4"}
    assert "as it came" in printed
    assert "snap:bits=2,layers=op:Conv: approximate" in printed


def test_the_artifact_is_the_compressed_model(compressed: tuple[Path, Any, str]) -> None:
    _, report, _ = compressed
    last = report["compression"][-1]["after"]["accuracy"]["artifact"]
    for artifact in report["artifacts"]:
        assert artifact["precision"] == "fp32"
        assert artifact["accuracy"]["artifact"] == pytest.approx(last, abs=0.002)


def test_the_page_shows_the_steps(compressed: tuple[Path, Any, str]) -> None:
    folder, _, _ = compressed
    page = (folder / "report.html").read_text()
    assert "What each step did" in page
    assert "snap:bits=2,layers=op:Conv" in page


def test_a_recipe_prunes_factorizes_fuses_and_quantizes(combined: tuple[Path, Any, str]) -> None:
    _, report, _ = combined
    steps = report["compression"]
    assert [one["technique"] for one in steps] == ["prune-channels", "factorize", "fuse"]
    assert all(one["changes"] for one in steps)
    last = steps[-1]["after"]
    assert last["macs"] < steps[0]["after"]["macs"] < 0.61 * steps[0]["before"]["macs"]
    for artifact in report["artifacts"]:
        assert (artifact["precision"], artifact["status"]) == ("int8", "ok")
        assert artifact["accuracy"]["artifact"] == pytest.approx(last["accuracy"]["artifact"], abs=0.02)


@pytest.mark.parametrize("first", ["compressed", "combined"])
def test_the_lock_repeats_the_run_bit_for_bit_and_convert_takes_it(
    first: str, request: pytest.FixtureRequest, digits: Path, tmp_path: Path
) -> None:
    folder, _, _ = request.getfixturevalue(first)
    lock = str(folder / "recipe.lock.toml")
    again = run("convert", f"{digits}/digits.keras", "--recipe", lock, "--no-bench", "-o", str(tmp_path / "o"))
    assert again.returncode == 0, again.stderr
    models = {file.name: file.read_bytes() for file in (folder / "models").iterdir()}
    assert {file.name for file in (tmp_path / "o" / "models").iterdir()} == models.keys()
    for name, before in models.items():
        assert (tmp_path / "o" / "models" / name).read_bytes() == before, name


def test_a_gate_that_is_missed_ends_with_6_and_keeps_the_file_as_rejected(digits: Path, tmp_path: Path) -> None:
    data = ("--eval", f"{digits}/test.npz", "--max-drop", "0.01", "--no-bench", "--to", "tflite")
    steps = ("-t", "snap:bits=2", "-t", "fuse:optional")
    done = run("compress", f"{digits}/digits.keras", *steps, *data, "-o", str(tmp_path / "o"))
    assert done.returncode == 6, done.stderr
    assert "rejected: top1 drops by" in done.stderr
    (first, _) = json.loads((tmp_path / "o" / "report.json").read_text())["compression"]
    lost = first["after"]["accuracy"]["drop"] - first["before"]["accuracy"]["drop"]
    assert f"hint: most is lost by the step snap:bits=2 ({lost:.2%}): give it a weaker option" in done.stderr
    assert [file.name for file in (tmp_path / "o" / "models").iterdir()] == ["digits.fp32.tflite.rejected"]


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((), 2, "there is nothing to do: give --technique NAME"),
        (("-t", "snip"), 2, "there is no technique 'snip'"),
        (("-t", "snap:bits=11"), 2, "option 'bits' takes 0 to 8, not '11'"),
        (("-t", "snap:layers=nix"), 3, "no layer is called 'nix'"),
    ],
)
def test_what_cannot_be_done_is_one_sentence_and_leaves_nothing(
    digits: Path, tmp_path: Path, words: tuple[str, ...], code: int, said: str
) -> None:
    done = run("compress", f"{digits}/digits.keras", *words, "-o", str(tmp_path / "o"))
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_a_recipe_that_is_wrong_is_refused(digits: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    for text, said in (
        ("schema = 1\ncompress = 3\n", "compress a list of tables"),
        ("schema = 1\n[[compress]]\nbits = 3\n", "needs a technique"),
        ("schema = 1\n[[compress]]\ntechnique = 'snap'\nbits = 30\n", "takes 0 to 8"),
        ("schema = 1\n[compres]\n", "unknown key 'compres'"),
    ):
        recipe.write_text(text)
        done = run("compress", f"{digits}/digits.keras", "--recipe", str(recipe))
        assert done.returncode in {2, 3}
        assert said in done.stderr


def test_techniques_and_the_schema_are_listed() -> None:
    done = run("compress", "--list")
    assert done.returncode == 0
    assert "snap: move weights to a numeric grid" in done.stdout
    schema = json.loads(run("compress", "--schema").stdout)
    assert schema["properties"]["schema"] == {"const": 1}
