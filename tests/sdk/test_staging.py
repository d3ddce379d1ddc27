"""All files of a run appear, or none."""

import subprocess
import sys
from pathlib import Path

import pytest

from edgekit._staging import Staging
from edgekit.errors import EnvironmentMissingError


def test_a_commit_moves_everything_and_replaces_what_was_there(tmp_path: Path) -> None:
    out = tmp_path / "a" / "out"
    out.mkdir(parents=True)
    (out / "report.json").write_text("old")
    (out / "mine.txt").write_text("kept")
    with Staging(out) as stage:
        (stage.path / "models").mkdir()
        (stage.path / "models" / "m.tflite").write_text("new")
        (stage.path / "report.json").write_text("new")
        stage.commit()
    found = {str(file.relative_to(out)): file.read_text() for file in out.rglob("*") if file.is_file()}
    assert found == {"report.json": "new", "mine.txt": "kept", "models/m.tflite": "new"}
    assert not list(out.glob(".edgekit-*"))


def _fail_in(out: Path, name: str) -> None:
    with Staging(out) as stage:
        (stage.path / name).write_text("half")
        raise KeyError


def test_a_failure_leaves_nothing_behind(tmp_path: Path) -> None:
    out = tmp_path / "a" / "b"
    with pytest.raises(KeyError):
        _fail_in(out, "half")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_keeps_what_was_there(tmp_path: Path) -> None:
    (tmp_path / "report.json").write_text("old")
    with pytest.raises(KeyError):
        _fail_in(tmp_path, "report.json")
    assert [file.name for file in tmp_path.iterdir()] == ["report.json"]
    assert (tmp_path / "report.json").read_text() == "old"


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(EnvironmentMissingError, match="cannot be written"), Staging(tmp_path / "file" / "out"):
        pass


def test_what_a_killed_run_left_goes_with_the_next_and_what_another_is_at_stays(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, edgekit._staging as s; s.Staging(pathlib.Path('.')).__enter__(); os.kill(os.getpid(), 9)"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=tmp_path, check=False).returncode == -9
    (left,) = tmp_path.iterdir()
    with Staging(tmp_path) as other:
        assert not left.exists()
        with Staging(tmp_path) as stage:
            assert other.path.is_dir()
            stage.commit()
        assert other.path.is_dir()
    assert list(tmp_path.iterdir()) == []
