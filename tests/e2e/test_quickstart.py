"""The whole loop as a new user runs it."""

import json
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("engine", ["auto", "iotcore"])
def test_quickstart_ends_by_itself_with_latency_of_two_runtimes(tmp_path: Path, engine: str) -> None:
    command = [sys.executable, "-m", "edgekit.cli.main", "quickstart", "--seconds", "6", "--engine", engine]
    start = time.monotonic()
    answer = subprocess.run(
        [*command, "--json", "-o", str(tmp_path)], capture_output=True, text=True, timeout=240, check=False
    )
    assert answer.returncode == 0, answer.stderr
    assert time.monotonic() - start < 240
    devices = {one["device"]: one for one in json.loads(answer.stdout)["devices"]}
    assert set(devices) == {"tflite-device", "openvino-device"}
    for one in devices.values():
        assert one["inferences"] > 100
        assert 0 < one["p50_ms"] <= one["p99_ms"]
        assert one["size_bytes"] < one["float_size_bytes"]
        assert one["accuracy_before"] > 0.95
        assert one["accuracy_before"] - one["accuracy_after"] <= 0.02
        assert one["accuracy_on_device"] == pytest.approx(one["accuracy_after"], abs=0.05)
    assert devices["openvino-device"]["runtime"].startswith("openvino")
    assert (tmp_path / "report.html").is_file()
    left = subprocess.run(["pgrep", "-f", str(tmp_path)], capture_output=True, text=True, check=False)
    assert left.stdout == ""
