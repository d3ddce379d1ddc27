"""The agent's own update: another version of it runs from a slot, or the one before does again."""

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest

from edgekit.repo import NewRelease, add, publish
from edgekit_agent import __version__
from tests.agent import wheel_maker
from tests.e2e.updating import TOPIC, Device

pytestmark = pytest.mark.slow

AGENT = "edgekit-agent"
NO_START = "\nraise RuntimeError('a version that does not come up')\n"
NO_CONNECTION = "\nMqttTransport.start = lambda *_: None\n"


def released(device: Device, folder: Path, version: str, more: dict[str, str] | None = None) -> None:
    """Sign and publish a version of the agent."""
    wheel = wheel_maker.made(folder, version, more)
    add(device.publisher.repository, wheel, device.publisher.keys, NewRelease(name=AGENT, version=version))
    publish(device.publisher.repository, device.publisher.keys)


def announce(device: Device, version: str, v: int = 1) -> None:
    body = {"v": v, "models": [{"name": AGENT, "version": version}]}
    device.listener.client.publish(TOPIC, json.dumps(body), qos=1, retain=True)


def runs(device: Device, version: str) -> None:
    """Wait until a version is on line."""
    before = len(device.listener.of("state"))
    device.wait_for(
        lambda: [one for one in device.listener.of("state")[before:] if one.body.get("agent") == version],
        f"agent {version}",
    )


def kept_running(device: Device, condition: Any, what: str) -> None:
    """Start the agent whenever it has ended, as a service manager does, until something is so."""

    def look() -> Any:
        if device.agent.process.poll() is not None:
            device.start(trial_limit_s=20)
        return condition()

    device.wait_for(look, what, 120)


def outcome(device: Device, phase: str, version: str) -> dict[str, Any]:
    found = [
        model
        for one in device.listener.of("reported")
        for model in one.body["models"]
        if (model["name"], model["version"], model["phase"]) == (AGENT, version, phase)
    ]
    return dict(found[-1]) if found else {}


def test_a_new_version_of_the_agent_takes_over_and_stays(device: Device, tmp_path: Path) -> None:
    released(device, tmp_path, "9.0.0")
    device.start(trial_limit_s=20)
    device.listener.wait("tele")
    announce(device, "9.0.0")
    runs(device, "9.0.0")
    kept_running(device, lambda: outcome(device, "committed", "9.0.0").get("serving") == "9.0.0", "committed")
    device.serves("1.2.0")  # its models go on
    assert device.agent.stop() == 0
    device.start()
    runs(device, "9.0.0")
    released(device, tmp_path, "9.1.0")
    announce(device, "9.1.0", 2)
    kept_running(device, lambda: outcome(device, "committed", "9.1.0").get("serving") == "9.1.0", "committed")


@pytest.mark.parametrize(
    ("broken", "reason"),
    [({"service.py": NO_START}, "agent-not-started"), ({"transport/mqtt.py": NO_CONNECTION}, "deadline-passed")],
    ids=["does-not-start", "does-not-connect"],
)
def test_a_version_that_does_not_come_up_is_given_up(
    device: Device, tmp_path: Path, broken: dict[str, str], reason: str
) -> None:
    released(device, tmp_path, "9.0.0", broken)
    device.start(trial_limit_s=20)
    device.listener.wait("tele")
    announce(device, "9.0.0")
    kept_running(device, lambda: outcome(device, "failed", "9.0.0").get("reason"), "given up")
    found = outcome(device, "failed", "9.0.0")
    assert (found["reason"], found["serving"]) == (reason, __version__)
    device.serves("1.2.0")
    boot = json.loads((tmp_path / "state" / "agent" / "boot.json").read_text())["state"]
    assert (boot.get("current"), boot.get("trial")) == (None, None)


@pytest.mark.parametrize("phase", ["downloading", "verifying", "trial", "committed"])
def test_an_agent_that_is_killed_during_its_own_update_ends_up_as_one_of_both(
    device: Device, tmp_path: Path, phase: str
) -> None:
    released(device, tmp_path, "9.0.0")
    device.start(trial_limit_s=20)
    announce(device, "9.0.0")
    device.wait_for(lambda: outcome(device, phase, "9.0.0") or outcome(device, "committed", "9.0.0"), phase)
    os.kill(device.agent.pid, signal.SIGKILL)
    device.agent.process.wait()
    kept_running(device, lambda: outcome(device, "committed", "9.0.0").get("serving") == "9.0.0", "committed")
    device.serves("1.2.0")
