"""The browser of the tests leaves nothing behind when it does not come up."""

import tempfile
from pathlib import Path

import psutil
import pytest

from tests.sdk.fleet.web import browser
from tests.sdk.fleet.web.browser import Browser


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where profiles are made."""
    made = tmp_path / "profiles"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    return made


@pytest.mark.parametrize(
    "script", ["exit 1", "sleep 1000 & echo $! > {pid}; exec sleep 1000", None], ids=["ends", "hangs", "is-none"]
)
def test_a_browser_that_does_not_come_up_is_gone_with_its_children(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, script: str | None
) -> None:
    program, pid = tmp_path / "program", tmp_path / "pid"
    if script is not None:
        program.write_text(f"#!/bin/sh\n{script.format(pid=pid)}\n")
        program.chmod(0o755)
    monkeypatch.setattr(browser, "TIMEOUT_S", 2.0)
    before, others = psutil.Process().num_fds(), psutil.Process().children(recursive=True)
    with pytest.raises((AssertionError, OSError)):
        Browser(program=str(program))
    assert psutil.Process().num_fds() == before
    assert list(folder.iterdir()) == []
    assert set(psutil.Process().children(recursive=True)) <= set(others)
    if pid.exists() and psutil.pid_exists(int(pid.read_text())):
        # it was killed with its group; it is nobody's child here, and may not have been collected yet
        assert psutil.Process(int(pid.read_text())).status() == psutil.STATUS_ZOMBIE
