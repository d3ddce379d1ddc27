"""What an operator asks of a running agent: status on the device, commands and configuration from afar."""

import contextlib
import json
import os
import signal
import stat
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from tests.e2e.conftest import wait_for

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
BASE = "ek/1/default/edge-1"


class Operator:
    """Sends commands and configurations."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="operator")
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def send(self, topic: str, body: dict[str, Any] | bytes, *, retain: bool = False) -> None:
        payload = body if isinstance(body, bytes) else json.dumps(body)
        self.client.publish(f"{BASE}/{topic}", payload, qos=1, retain=retain).wait_for_publish(30)

    def command(self, name: str, op: str, *, retain: bool = False, **arguments: Any) -> None:
        body = {"op": op, "args": arguments, "exp": time.time_ns() // 1_000_000 + 300_000}
        self.send(f"cmd/{name}", body, retain=retain)

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def operator() -> Iterator[Callable[[int], Operator]]:
    """Makes an operator."""
    made: list[Operator] = []

    def make(port: int) -> Operator:
        made.append(Operator(port))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def ask(agent_python: tuple[str, dict[str, str]], tmp_path: Path) -> Callable[..., Any]:
    """Runs `edgekit-agent status`."""
    python, extra = agent_python

    def run(config: str, *words: str) -> Any:
        (tmp_path / "agent.toml").write_text(config)
        command = [python, "-P", "-m", "edgekit_agent", "status", "--config", str(tmp_path / "agent.toml"), *words]
        return subprocess.run(command, capture_output=True, text=True, check=False, env={**os.environ, **extra})

    return run


def results(listener: Any, command: str) -> list[dict[str, Any]]:
    """Return the answers to a command, in order."""
    return [one.body for one in listener.of(command) if one.topic == f"{BASE}/res/{command}"]


def ended(listener: Any, command: str, count: int = 1) -> list[dict[str, Any]]:
    """Wait for so many answers that are no progress."""

    def last() -> list[dict[str, Any]]:
        found = [one for one in results(listener, command) if one["status"] != "running"]
        return found if len(found) >= count else []

    return list(wait_for(last, f"the answer to {command}"))


def told(listener: Any, version: int) -> dict[str, Any]:
    """Wait for what is reported of a configuration."""

    def found() -> list[dict[str, Any]]:
        bodies = [one.body.get("conf", {}) for one in listener.of("reported")]
        return [body for body in bodies if body.get("v") == version]

    body: dict[str, Any] = wait_for(found, f"configuration {version} is reported")[-1]
    return body


@pytest.fixture
def config(broker: Any, agent_toml: Start) -> str:
    """The configuration of one model, for a broker that runs."""
    text: str = agent_toml(broker.port)
    return text


def test_status_on_the_device(config: str, broker: Any, listen: Start, start_agent: Start, ask: Start) -> None:
    done = ask(config)
    assert done.returncode == 5
    assert done.stderr.startswith("error: no agent answers here")
    listener = listen(broker.port)
    agent = start_agent(config)
    listener.wait("tele", 2)
    (socket,) = Path(agent.log_file.parent, "run").iterdir()
    assert stat.S_IMODE(socket.stat().st_mode) == 0o600
    done = ask(config, "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert (found["device"], found["pid"], found["broker"]["connected"]) == ("edge-1", agent.pid, True)
    (model,) = found["models"]
    assert (model["name"], model["version"], model["current"]) == ("kws", "1.2.0", True)
    (worker,) = model["workers"]
    assert worker["pid"] == agent.worker()
    assert worker["rss_bytes"] > 1 << 20
    assert model["window"]["p50_ms"] >= 5
    text = ask(config).stdout
    assert "model kws 1.2.0" in text
    assert "connected, MQTT 5" in text
    assert agent.stop() == 0
    assert ask(config).returncode == 5


def test_commands_are_answered_once_also_over_a_kill(
    config: str, broker: Any, listen: Start, start_agent: Start, operator: Start
) -> None:
    listener, host = listen(broker.port), operator(broker.port)
    first = start_agent(config)
    listener.wait("state", st="online")
    listener.wait("tele")
    host.command("s1", "status")
    (answer,) = ended(listener, "s1")
    assert answer["status"] == "done"
    assert answer["result"]["device"] == "edge-1"
    host.command("l1", "log-tail", lines=50)
    (answer,) = ended(listener, "l1")
    assert any("event=model-ready" in line for line in answer["result"]["log"])
    host.command("b1", "benchmark", retain=True, model="kws", runs=100)
    (answer,) = ended(listener, "b1")
    assert answer["status"] == "done", answer
    assert answer["result"]["timing"]["p50_ms"] >= 5
    for name, payload, reason in (
        ("x1", b"garbage", "command-invalid"),
        ("x2", b"x" * 20_000, "command-too-large"),
        ("x3", json.dumps({"op": "status", "exp": 1_000}).encode(), "command-expired"),
        ("x4", json.dumps({"op": "reboot", "exp": time.time_ns() // 10**6 + 60_000}).encode(), "command-unknown"),
    ):
        host.send(f"cmd/{name}", payload)
        (answer,) = ended(listener, name)
        assert (answer["status"], answer["reason"]) == ("refused", reason)
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    second = start_agent(config)
    # the broker has kept the command, and gives it to the new connection
    assert [one["status"] for one in ended(listener, "b1", 2)] == ["done", "refused"]
    assert ended(listener, "b1", 2)[-1]["reason"] == "command-repeated"
    host.send("cmd/b1", b"", retain=True)
    assert second.stop() == 0


def test_a_benchmark_that_a_kill_cuts_off_is_told_and_not_begun_again(
    config: str, broker: Any, listen: Start, start_agent: Start, operator: Start
) -> None:
    listener, host = listen(broker.port), operator(broker.port)
    first = start_agent(config)
    listener.wait("tele")
    host.command("b1", "benchmark", model="kws", runs=10_000)
    wait_for(lambda: results(listener, "b1"), "the benchmark has begun")
    benchmarks = [pid for pid in first.workers() if b"bench" in Path(f"/proc/{pid}/cmdline").read_bytes()]
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    for pid in benchmarks:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    start_agent(config)
    (answer,) = ended(listener, "b1")
    assert (answer["status"], answer["reason"]) == ("failed", "command-interrupted")


def test_a_configuration_from_afar_is_in_force_and_stays(
    config: str, broker: Any, listen: Start, start_agent: Start, operator: Start
) -> None:
    listener, host = listen(broker.port), operator(broker.port)
    first = start_agent(config)
    listener.wait("tele")
    pid = first.worker()
    host.send("desired", {"v": 3, "conf": {"telemetry": {"heartbeat_s": 1, "window_s": 2}}}, retain=True)
    assert told(listener, 3) == {"v": 3, "status": "applied", "refused": {}}
    wait_for(lambda: [one for one in listener.of("tele") if one.body["win_s"] >= 1.9], "windows of two seconds")
    listener.wait("state", hb=1.0)
    assert first.worker() == pid
    refused = {"broker": {"url": "mqtt://192.0.2.1"}, "telemetry": {"window_s": 0}}
    host.send("desired", {"v": 4, "conf": refused}, retain=True)
    assert {key: one["reason"] for key, one in told(listener, 4)["refused"].items()} == {
        "broker.url": "key-not-remote",
        "telemetry.window_s": "key-invalid",
    }
    host.send(
        "desired", {"v": 5, "conf": {"model": {"kws": {"rate_hz": 5}}, "telemetry": {"window_s": 2}}}, retain=True
    )
    assert told(listener, 5)["status"] == "applied"
    wait_for(lambda: first.workers() and pid not in first.workers(), "the worker is another")
    wait_for(lambda: listener.of("tele")[-1].body["n"] <= 12, "five inferences a second")
    boot = listener.of("tele")[-1].body["boot"]
    os.kill(first.pid, signal.SIGKILL)
    first.process.wait()
    second = start_agent(config)
    wait_for(lambda: [one for one in listener.of("tele") if one.body["boot"] != boot], "reports of another run")
    assert listener.of("tele")[-1].body["n"] <= 12
    host.send("desired", {"v": 2, "conf": {"telemetry": {"window_s": 9}}}, retain=True)
    host.command("s1", "status")
    (answer,) = ended(listener, "s1")
    assert answer["result"]["configuration"] == {"v": 5, "status": "applied", "refused": {}}
    assert second.stop() == 0
