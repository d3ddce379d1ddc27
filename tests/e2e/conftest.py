"""Real processes for the end-to-end tests: brokers that can be killed, agents, subscribers that come back."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgekit.fleet import _brokers as brokers

PATIENCE_S = 60.0
"""The machine may be busy: tests wait for what must happen, and only a failure takes this long."""


def wait_for(condition: Callable[[], Any], what: str, timeout_s: float = PATIENCE_S) -> Any:
    """Return the condition's first true value."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        if found := condition():
            return found
        time.sleep(0.05)
    pytest.fail(f"{what}: not within {timeout_s:g} s")


@dataclass
class BrokerProcess:
    """A real broker on a port of its own, which can be killed and started again."""

    engine: str
    folder: Path
    port: int = field(default_factory=brokers.free_port)
    _running: Any = None

    def start(self) -> None:
        kind = brokers.find_mosquitto() if self.engine == "mosquitto" else None
        if kind is not None:
            self._running = brokers.MosquittoBroker(kind, self.port, self.folder)
        else:
            self._running = brokers.IotcoreBroker(self.port, self.folder)

    def kill(self) -> None:
        """End it without a chance to say goodbye."""
        process = self._running.process if self.engine == "mosquitto" else self._running._broker._process
        process.kill()
        process.wait(10)

    def stop(self) -> None:
        if self._running is not None:
            self._running.stop()


@pytest.fixture
def make_broker(tmp_path: Path) -> Iterator[Callable[[str], BrokerProcess]]:
    """Makes a broker that is not started; `auto` is mosquitto where it is installed."""
    made: list[BrokerProcess] = []

    def make(engine: str = "auto") -> BrokerProcess:
        if engine == "auto":
            engine = brokers.choose_engine()
        if not brokers.ENGINES[engine]():
            pytest.skip(f"needs the broker {engine}")
        folder = tmp_path / f"broker-{len(made)}"
        folder.mkdir()
        made.append(BrokerProcess(engine, folder))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def broker(make_broker: Callable[[], BrokerProcess]) -> BrokerProcess:
    """A running broker."""
    one = make_broker()
    one.start()
    return one


@dataclass(frozen=True)
class Heard:
    """A message as it arrived."""

    topic: str
    body: dict[str, Any]
    retained: bool

    @property
    def kind(self) -> str:
        return self.topic.rpartition("/")[2]


class Listener:
    """Subscribed to everything of the fleet, and again after each reconnect."""

    def __init__(self, port: int) -> None:
        """Connect in the background."""
        self._messages: list[Heard] = []
        self.ready = threading.Event()
        self.client = paho.Client(
            CallbackAPIVersion.VERSION2, client_id="listener", protocol=MQTTProtocolVersion.MQTTv5
        )
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = lambda client, *_: client.subscribe("ek/1/#", qos=1)
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._on_message
        self.client.connect_async("127.0.0.1", port, keepalive=10)
        self.client.loop_start()

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.payload:
            with contextlib.suppress(ValueError):  # tests send garbage to the device
                self._messages.append(Heard(message.topic, json.loads(message.payload), message.retain))

    def of(self, kind: str, **wanted: Any) -> list[Heard]:
        """Return what was heard of one kind, with these values in the body."""
        found = [one for one in list(self._messages) if one.kind == kind]
        return [one for one in found if all(one.body.get(key) == value for key, value in wanted.items())]

    def wait(self, kind: str, count: int = 1, **wanted: Any) -> list[Heard]:
        """Wait until so many of a kind were heard."""
        return list(
            wait_for(
                lambda: found if len(found := self.of(kind, **wanted)) >= count else None, f"{count} {kind} {wanted}"
            )
        )

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def listen() -> Iterator[Callable[[int], Listener]]:
    """Makes a subscriber to a port."""
    made: list[Listener] = []

    def make(port: int, *, wait: bool = True) -> Listener:
        made.append(Listener(port))
        if wait:
            assert made[-1].ready.wait(PATIENCE_S)
        return made[-1]

    yield make
    for one in made:
        one.stop()


class AgentProcess:
    """`edgekit-agent run` as the device runs it."""

    def __init__(self, command: list[str], environment: dict[str, str], log: Path) -> None:
        """Start it."""
        self.log_file = log
        with log.open("ab") as file:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=file, stderr=file, env=environment
            )
        self.pid = self.process.pid

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def workers(self) -> list[int]:
        """Return the processes it has started."""
        with contextlib.suppress(OSError):
            return [int(word) for word in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def worker(self) -> int:
        """Wait for its only worker."""
        return int(wait_for(self.workers, "a worker process")[0])

    def stop(self) -> int:
        """Ask it to stop and return its exit code."""
        self.process.terminate()
        return self.process.wait(PATIENCE_S)


@pytest.fixture(scope="session")
def agent_python(repository: Path) -> tuple[str, dict[str, str]]:
    """The interpreter that runs the agent (a device's where there is one) and what its environment needs."""
    device = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    if not device:
        return sys.executable, {}
    check = [device, "-P", "-c", "import edgekit_agent"]
    has_wheel = subprocess.run(check, capture_output=True, check=False, cwd="/").returncode == 0
    return device, {} if has_wheel else {"PYTHONPATH": str(repository / "agent")}


@pytest.fixture(scope="session")
def compiled_agent(agent_python: tuple[str, dict[str, str]]) -> None:
    """Bytecode as an installer leaves it: compiling paho at every start costs 6 MiB."""
    python, extra = agent_python
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    code = "import edgekit_agent.__main__, edgekit_agent.service, edgekit_agent.transport.mqtt"
    subprocess.run([python, "-P", "-c", code], check=True, env={**environment, **extra})


@pytest.fixture
def start_agent(agent_python: tuple[str, dict[str, str]], tmp_path: Path) -> Iterator[Callable[..., AgentProcess]]:
    """Starts agents from the text of their configuration, and ends them."""
    python, extra = agent_python
    started: list[AgentProcess] = []

    def start(text: str, *options: str) -> AgentProcess:
        config = tmp_path / "agent.toml"
        config.write_text(text)
        command = [python, *options, "-P", "-m", "edgekit_agent", "run", "--config", str(config)]
        started.append(AgentProcess(command, {**os.environ, **extra}, tmp_path / "agent.log"))
        return started[-1]

    yield start
    for agent in started:
        if agent.process.poll() is None:
            agent.process.send_signal(signal.SIGTERM)
            with contextlib.suppress(subprocess.TimeoutExpired):
                agent.process.wait(20)
        if agent.process.poll() is None:
            agent.process.kill()
            agent.process.wait()
        sys.stderr.write(agent.log[-20_000:])  # shown with a failure


@pytest.fixture
def agent_toml(tmp_path: Path) -> Callable[..., str]:
    """Makes a configuration with one model of the null runtime: 5 ms an inference, windows of a second."""
    script = tmp_path / "model.null"
    port_of = {
        "inputs": [{"name": "x", "shape": [1, 4], "dtype": "float32"}],
        "outputs": [{"name": "y", "shape": [1, 2], "dtype": "float32"}],
        "latency_ms": [5.0],
    }
    script.write_text(json.dumps(port_of))

    def make(port: int, *, model: Path = script, more: str = "", rate_hz: float = 20, protocol: str = "auto") -> str:
        return f"""
device = "edge-1"
state_dir = "{tmp_path / "state"}"
run_dir = "{tmp_path / "run"}"
[broker]
url = "mqtt://127.0.0.1:{port}"
protocol = "{protocol}"
[telemetry]
window_s = 1
heartbeat_s = 2
[[model]]
name = "kws"
version = "1.2.0"
path = "{model}"
rate_hz = {rate_hz}
{more}
"""

    return make


@pytest.fixture
def device(
    broker: BrokerProcess,
    listen: Callable[..., Listener],
    start_agent: Callable[..., AgentProcess],
    agent_toml: Callable[..., str],
    tmp_path: Path,
) -> Any:
    """A device that takes updates, not started yet; its repository is a folder, as on a USB stick."""
    from tests.e2e.updating import Device, Publisher

    publisher = Publisher(tmp_path / "publisher")
    publisher.trusted_by(tmp_path / "state")
    return Device(publisher, listen(broker.port), start_agent, lambda: agent_toml(broker.port), wait_for)
