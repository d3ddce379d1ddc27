"""`edgekit join` and `edgekit.join`: models of any format become one ONNX file."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

import edgekit
from edgekit_converters.errors import UnsupportedError
from tests.converters.compress.rewritten import net, normal

W = {"mean": normal(0, 3, 1, 1), "w": normal(1, 4, 3, 3, 3), "m": normal(2, 4, 5)}
BEFORE = "image[N,3,8,8] -> centred: centred=Sub(image,mean)"
BEHIND = "x[N,3,8,8] -> scores: a=Conv(x,w) b=GlobalAveragePool(a) c=Flatten(b) scores=MatMul(c,m)"


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    import onnx

    for name, text in (("before", BEFORE), ("behind", BEHIND)):
        onnx.save(net(text, W), str(tmp_path / f"{name}.onnx"))
    return tmp_path / "before.onnx", tmp_path / "behind.onnx"


def _edgekit(*words: str | Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgekit.cli.main", "join", *map(str, words), "--progress", "off"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)


def test_the_joined_model_is_a_model_like_any_other(files: tuple[Path, Path], tmp_path: Path) -> None:
    made = edgekit.join(*files, tmp_path / "new" / "whole.onnx", chain={"centred": "x"})
    assert [one.name for one in made.inputs] == ["image"]
    assert [one.name for one in made.outputs] == ["scores"]
    assert edgekit.inspect(made.path)["parameters"] == made.figures["parameters"] == 3 + 4 * 27 + 20
    assert [one.name for one in made.path.parent.iterdir()] == ["whole.onnx"]


def test_the_command_prints_how_they_hang_together(files: tuple[Path, Path], tmp_path: Path) -> None:
    done = _edgekit(*files, "-o", tmp_path / "whole.onnx", "--json")
    assert done.returncode == 0, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["schema"], answer["chain"]) == (1, {"x": "centred"})
    shown = _edgekit(*files, "-o", tmp_path / "whole.onnx", "--chain", "centred=x")
    lines = ["centred goes into x", "takes image ?x3x8x8 float32", "gives scores ?x5 float32"]
    assert shown.stdout.splitlines()[:3] == lines


@pytest.mark.parametrize(
    ("words", "code", "why"),
    [
        (("--chain", "centred"), 2, "error: 'centred' is not of the form name-in-A=name-in-B"),
        (("--chain", "a=x", "--chain", "a=y"), 2, "error: 'a' is given twice"),
        (("--chain", "scores=x"), 3, "error: the first model has no output 'scores'; it has: centred"),
        (("--share", "image=picture"), 3, "error: the second model has no input 'picture'; it has: x"),
    ],
)
def test_what_is_wrong_is_said_in_a_sentence(
    words: tuple[str, ...], code: int, why: str, files: tuple[Path, Path], tmp_path: Path
) -> None:
    done = _edgekit(*files, "-o", tmp_path / "whole.onnx", *words)
    assert (done.returncode, done.stderr.splitlines()[0]) == (code, why)
    assert not (tmp_path / "whole.onnx").exists()


def test_a_model_without_an_onnx_form_is_refused(files: tuple[Path, Path], tmp_path: Path, repository: Path) -> None:
    with pytest.raises(UnsupportedError, match="no way to ONNX"):
        edgekit.join(files[0], repository / "tests/data/models/conv.tflite", tmp_path / "whole.onnx")
