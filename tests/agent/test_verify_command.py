"""`edgekit-agent verify`: a bundle checked and proved on the device, by the command as a person types it."""

import json
import subprocess
import sys
from pathlib import Path

from edgekit_agent.bundle import Bounds
from tests.agent import bundle_maker


def verify(*arguments: object) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-P", "-m", "edgekit_agent", "verify", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)


def release(folder: Path, bounds: Bounds | None = None) -> Path:
    model = folder / "model.null"
    model.write_text(json.dumps(bundle_maker.SCRIPT))
    return bundle_maker.release(folder / "made", model, "null", "1.2.0", 7, bounds=bounds)


def test_a_sound_bundle_is_checked_and_proved(tmp_path: Path) -> None:
    path = release(tmp_path)
    checked = verify(path)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "files as the manifest says" in checked.stdout
    proved = verify(path, "--prove", "--json")
    assert proved.returncode == 0
    found = json.loads(proved.stdout)
    assert (found["version"], found["proof"]["golden_runs"] > 0) == ("1.2.0", True)
    assert found["proof"]["p50_ms"] > 0


def test_a_model_that_breaks_its_promise_ends_with_6_and_says_why(tmp_path: Path) -> None:
    done = verify(release(tmp_path, Bounds(p50_ms=0.0001)), "--prove")
    assert done.returncode == 6
    assert done.stderr.startswith("error: the median latency is ")


def test_a_damaged_bundle_ends_with_3_and_is_not_run(tmp_path: Path) -> None:
    path = release(tmp_path)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    done = verify(path, "--prove")
    assert done.returncode == 3
    assert done.stderr.startswith(f"error: bundle '{path}': ")


def test_a_file_that_is_not_there_is_said(tmp_path: Path) -> None:
    done = verify(tmp_path / "no.ekb")
    assert (done.returncode, "does not exist" in done.stderr) == (3, True)
