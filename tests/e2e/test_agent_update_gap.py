"""Applications during an update: no request fails, whichever worker has it."""

import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgekit_agent.client import Client, ClientError
from tests.e2e.updating import Device, script

pytestmark = pytest.mark.slow

SERVED = """
[model.source]
kind = "requests"
"""


class Application:
    """Asks at full rate over one connection, and checks every answer."""

    def __init__(self, number: int) -> None:
        """Begin."""
        self.count, self.wrong, self.longest_s = 0, list[object](), 0.0
        self._number, self._stop = number, threading.Event()
        self._thread = threading.Thread(target=self._ask)
        self._thread.start()

    def _ask(self) -> None:
        with Client("kws", patience_s=60) as model:
            while not self._stop.is_set():
                value = float(self._number * 100_000 + self.count)
                began = time.monotonic()
                try:
                    answer = model(np.full((1, 4), value, np.float32))["y"][0, 0]
                    if answer != value:
                        self.wrong.append((value, answer))
                except ClientError as exc:
                    self.wrong.append(exc)
                self.longest_s = max(self.longest_s, time.monotonic() - began)
                self.count += 1

    def stop(self) -> None:
        self._stop.set()
        self._thread.join()


@pytest.fixture
def applications(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, device: Device) -> Any:
    """Three applications at a device that serves them; started when called."""
    monkeypatch.setenv("EDGEKIT_RUN_DIR", str(tmp_path / "run"))
    text = device.toml()
    lines = [line for line in text.splitlines() if not line.startswith("rate_hz")]
    device.toml = lambda: "\n".join(lines) + SERVED
    started: list[Application] = []

    def start() -> list[Application]:
        started.extend(Application(number) for number in range(3))
        return started

    yield start
    for one in started:
        one.stop()


def test_no_request_fails_while_an_update_is_tried_and_committed(device: Device, applications: Any) -> None:
    device.publisher.release("2.0.0")
    device.start(trial_s=3, trial_inferences=100)
    asking = applications()
    device.listener.wait("tele", ver="1.2.0")
    device.announce("2.0.0")
    device.listener.wait("event", code="update-committed")
    device.serves("2.0.0")
    counts = [one.count for one in asking]
    device.wait_for(lambda: all(one.count > count + 100 for one, count in zip(asking, counts, strict=True)), "answers")
    for one in asking:
        one.stop()
    assert [one.wrong for one in asking] == [[], [], []]
    # applications that stay with the worker they know were sent over, so the trial saw real work
    assert sum(report.body["n"] for report in device.listener.of("tele", ver="2.0.0")) > 100


def test_no_request_fails_when_the_new_model_crashes_in_its_trial(device: Device, applications: Any) -> None:
    device.publisher.release("2.0.0", script(faults={"260": "segfault"}))
    device.start(trial_s=10, trial_inferences=10)
    asking = applications()
    device.listener.wait("tele", ver="1.2.0")
    device.announce("2.0.0")
    found = device.reported("2.0.0", "failed")
    assert found["detail"]["signal"] == "SIGSEGV"
    device.serves("1.2.0")
    for one in asking:
        one.stop()
    assert [one.wrong for one in asking] == [[], [], []]
