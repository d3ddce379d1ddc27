"""Files that are old or new after a failure, never something between."""

import os
from pathlib import Path

import pytest

from edgekit_agent.store import next_birth, write_durably


def test_replaces_the_content_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")
    write_durably(path, b"new", mode=0o600)
    assert path.read_bytes() == b"new"
    assert path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_after_a_failure_the_old_file_is_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"old")

    def fail(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os if step == "fsync" else Path, step, fail)
    with pytest.raises(OSError, match="No space left"):
        write_durably(path, b"new")
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]


def test_birth_numbers_count_up_over_restarts(tmp_path: Path) -> None:
    folder = tmp_path / "state"
    assert [next_birth(folder) for _ in range(3)] == [1, 2, 3]


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"birth": "x"}',
        b'{"birth": true}',
        b'{"birth": -4}',
        b'{"birth": 1e999}',
        b"\xff",
        b"[" * 9999,
    ],
    ids=["empty", "cut", "list", "text", "bool", "negative", "infinite", "binary", "deep"],
)
def test_a_broken_counter_starts_again(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "birth.json").write_bytes(content)
    assert [next_birth(tmp_path) for _ in range(2)] == [1, 2]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(OSError, match="file"):
        next_birth(tmp_path / "file" / "state")
