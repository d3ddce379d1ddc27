"""The fleet from an operator's seat: commands, real service and broker, simulated devices and a real agent."""

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.fleet._url import parse
from edgekit.fleet.simulate import Plan, Summary, simulate
from edgekit.fleet.simulate.faults import parse as fault_of
from tests.e2e.conftest import wait_for
from tests.e2e.served_fleet import ServedFleet

pytestmark = pytest.mark.slow


class Simulation:
    """Simulated devices in a thread of their own, until they are stopped."""

    def __init__(self, broker: str, *faults: str, **plan: Any) -> None:
        """Start them."""
        given = {"devices": 6, "window_s": 1.0, "heartbeat_s": 2.0, "ramp_s": 0.0, "drain_s": 20.0, **plan}
        self._plan = Plan(broker=parse(broker), faults=tuple(map(fault_of, faults)), **given)
        self.summary: Summary | None = None
        self._started = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._run()))
        self._thread.start()
        self._started.wait(30)

    async def _run(self) -> None:
        self._loop, self._task = asyncio.get_running_loop(), asyncio.ensure_future(simulate(self._plan))
        self._started.set()
        self.summary = await self._task

    def stop(self) -> Summary:
        if self.summary is None:
            self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(60)
        assert self.summary is not None
        return self.summary


@pytest.fixture
def broker(make_broker: Callable[[str], Any]) -> str:
    """A real broker."""
    run = make_broker("auto")
    run.start()
    return f"mqtt://127.0.0.1:{run.port}"


@pytest.fixture
def fleet(broker: str, tmp_path: Path) -> Iterator[ServedFleet]:
    """The service."""
    run = ServedFleet(tmp_path / "service", broker)
    yield run
    run.stop()


@pytest.fixture
def simulated(broker: str) -> Iterator[Callable[..., Simulation]]:
    """Makes simulated devices, which are stopped at the end."""
    made: list[Simulation] = []

    def make(*faults: str, **plan: Any) -> Simulation:
        made.append(Simulation(broker, *faults, **plan))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def edgekit(fleet: ServedFleet, *words: str, code: int = 0) -> str:
    """Run a fleet command; return what it printed."""
    environment = {**os.environ, "EDGEKIT_FLEET_SERVER": fleet.url, "EDGEKIT_FLEET_TOKEN": fleet.token}
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", *words]
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=180, check=False)
    assert done.returncode == code, done.stderr
    return done.stdout if code == 0 else done.stderr


def online(fleet: ServedFleet, count: int) -> Callable[[], bool]:
    return lambda: sum(state == "online" for state, _ in fleet.presence().values()) == count


def test_an_operator_sees_asks_and_sets_simulated_devices(
    fleet: ServedFleet, simulated: Callable[..., Simulation], broker: str
) -> None:
    run = simulated("silent:17%@6")
    wait_for(lambda: len(fleet.presence()) == 6, "six devices")
    listed = json.loads(edgekit(fleet, "ls", "--filter", "device~sim-*", "--json"))
    assert listed["count"] == 6
    assert {one["models"][0]["name"] for one in listed["devices"]} == {"kws"}
    wait_for(lambda: ("offline", "silent") in fleet.presence().values(), "the silent one is found")
    (silent,) = [name for name, (_, reason) in fleet.presence().items() if reason == "silent"]
    alive = next(name for name in sorted(fleet.presence()) if name != silent)
    assert "offline" in edgekit(fleet, "ls", "-f", "state=offline")
    assert "did you mean 'offline'?" in edgekit(fleet, "ls", "-f", "state=offlin", code=2)

    shown = edgekit(fleet, "show", alive)
    assert f"default/{alive}: online (heard)" in shown
    assert "kws" in shown
    logs = json.loads(edgekit(fleet, "logs", alive, "-n", "2", "--json"))
    assert len(logs["log"]) == 2
    bench = json.loads(edgekit(fleet, "bench", alive, "--model", "kws", "--runs", "50", "--json"))
    assert bench["benchmark"]["timing"]["runs"] == 50
    assert "not running here" in edgekit(fleet, "bench", alive, "--model", "none", code=5)
    many = json.loads(edgekit(fleet, "bench", "-f", "state=online", "--model", "kws", "--runs", "20", "--json"))
    assert len(many["devices"]) == 5
    assert all(one["benchmark"]["timing"]["runs"] == 20 for one in many["devices"])
    assert "1 of 6 devices did not answer" in edgekit(fleet, "bench", "-f", "", "--model", "kws", code=5)
    assert "serves 'none'" in edgekit(fleet, "bench", "-f", "", "--model", "none", code=2)
    assert "either a device or --filter" in edgekit(fleet, "bench", "--model", "kws", code=2)

    told = json.loads(edgekit(fleet, "config", "set", "telemetry.window_s=2", "-f", f"device={alive}", "--json"))
    assert [one["device"] for one in told["devices"]] == [alive]
    wait_for(
        lambda: ((fleet.server.device(alive)["reported"] or {}).get("conf") or {}).get("status") == "applied",
        "the configuration is applied",
    )
    assert "did you mean 'telemetry.window_s'?" in edgekit(
        fleet, "config", "set", "telemetry.windows=1", "-f", "", code=2
    )

    figures = json.loads(edgekit(fleet, "query", "--group", "hardware", "--last", "15m", "--json"))
    assert len(figures["groups"]) == 2
    worst = json.loads(edgekit(fleet, "top", "-n", "2", "--json"))
    assert len(worst["devices"]) == 2
    events = [json.loads(line) for line in edgekit(fleet, "events", "--json").splitlines()]
    assert {"agent-started", "model-ready"} <= {one["code"] for one in events}
    assert json.loads(edgekit(fleet, "counters", "--json"))["total"]["rejected"] == 0

    assert "is online" in edgekit(fleet, "forget", alive, code=6)
    gone = json.loads(edgekit(fleet, "forget", "-f", "reason=silent", "--dry-run", "--json"))
    assert [one["device"] for one in gone["devices"]] == [f"default/{silent}"]
    summary = run.stop()
    assert (summary.lost, summary.acked_by) == (0, "host")
    assert summary.made == summary.acked + summary.waiting
    wait_for(online(fleet, 0), "the others have said goodbye")
    assert ("stopped", "clean-stop") in fleet.presence().values()
    edgekit(fleet, "forget", "-f", "", "--json")
    assert fleet.presence() == {}
    assert json.loads(edgekit(fleet, "forget", "--zombies", broker, "--json"))["cleared"] == []


def test_what_the_broker_keeps_of_strangers_is_collected(
    fleet: ServedFleet, broker: str, simulated: Callable[..., Simulation]
) -> None:
    run = simulated(devices=2)
    wait_for(lambda: len(fleet.presence()) == 2, "two devices")
    run.stop()
    wait_for(lambda: {one for one, _ in fleet.presence().values()} == {"stopped"}, "both have stopped")
    for row in fleet.store.devices.all():
        fleet.store.devices.forget(row.key)  # of the store only
    would = json.loads(edgekit(fleet, "forget", "--zombies", broker, "--dry-run", "--json"))["cleared"]
    assert {topic.rpartition("/")[2] for topic in would} == {"state", "info", "reported"}
    assert json.loads(edgekit(fleet, "forget", "--zombies", broker, "--json"))["cleared"] == would
    assert json.loads(edgekit(fleet, "forget", "--zombies", broker, "--json"))["cleared"] == []


def test_a_real_agent_answers_logs_and_bench_takes_configuration_and_is_missed_when_killed(
    fleet: ServedFleet, broker: str, start_agent: Callable[..., Any], agent_toml: Callable[..., str]
) -> None:
    agent = start_agent(agent_toml(int(broker.rpartition(":")[2])))
    wait_for(lambda: fleet.presence().get("edge-1") == ("online", "heard"), "the agent is online")
    wait_for(lambda: "connected" in edgekit(fleet, "logs", "edge-1"), "its log")
    bench = json.loads(edgekit(fleet, "bench", "edge-1", "--model", "kws", "--runs", "20", "--json"))
    assert bench["benchmark"]["timing"]["p50_ms"] >= 5.0
    edgekit(fleet, "config", "set", "model.kws.rate_hz=10", "-f", "device=edge-1")
    wait_for(lambda: "configuration v1: applied" in edgekit(fleet, "show", "edge-1"), "it is configured")
    os.kill(agent.pid, signal.SIGKILL)
    agent.process.wait()
    wait_for(lambda: fleet.presence()["edge-1"] == ("offline", "connection-lost"), "the loss is told")


def test_two_devices_of_one_name_and_one_that_crashes_are_told_apart(
    fleet: ServedFleet, simulated: Callable[..., Simulation]
) -> None:
    simulated("duplicate-id:100%@2", devices=1, prefix="twin", drain_s=0.0)  # they take each other's answers
    simulated("crash:100%@3", devices=1, prefix="crash")
    wait_for(lambda: fleet.presence().get("twin-00000") == ("online", "duplicate-id"), "two of one name")
    wait_for(lambda: fleet.presence().get("crash-00000") == ("offline", "connection-lost"), "the crash is told")
    wait_for(lambda: fleet.presence().get("crash-00000") == ("online", "heard"), "it is back")


def test_a_broker_that_restarts_kills_nobody(
    make_broker: Callable[[str], Any], tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    broker = make_broker("auto")
    broker.start()
    url = f"mqtt://127.0.0.1:{broker.port}"
    fleet = ServedFleet(tmp_path / "service", url)
    request.addfinalizer(fleet.stop)
    run = Simulation(url)
    request.addfinalizer(run.stop)
    wait_for(online(fleet, 6), "six devices")
    broker.kill()
    wait_for(lambda: set(fleet.presence().values()) == {("stale", "broker-restart")}, "nobody can be known of")
    broker.start()
    seen = set()
    end = time.monotonic() + 60
    while not online(fleet, 6)() and time.monotonic() < end:
        seen |= set(fleet.presence().values())
        time.sleep(0.1)
    assert online(fleet, 6)()
    assert "offline" not in {state for state, _ in seen}


NETWORK = "ekview"


@pytest.fixture
def namespace() -> Iterator[str]:
    """A network of its own with a cable to this one, which can be cut."""
    commands = (
        f"ip netns add {NETWORK}",
        f"ip link add {NETWORK}0 type veth peer name {NETWORK}1 netns {NETWORK}",
        f"ip addr add 10.231.7.1/30 dev {NETWORK}0",
        f"ip link set {NETWORK}0 up",
        f"ip netns exec {NETWORK} ip addr add 10.231.7.2/30 dev {NETWORK}1",
        f"ip netns exec {NETWORK} ip link set {NETWORK}1 up",
    )
    try:
        for command in commands:
            subprocess.run(command.split(), check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError) as exc:
        subprocess.run(["ip", "netns", "del", NETWORK], check=False, capture_output=True)
        pytest.skip(f"needs root and `ip netns`: {exc}")
    yield NETWORK
    subprocess.run(["ip", "link", "del", f"{NETWORK}0"], check=False, capture_output=True)
    subprocess.run(["ip", "netns", "del", NETWORK], check=False, capture_output=True)


def _bridge(port: int) -> socket.socket:
    """Listen on the cable and carry what comes to the broker, which listens on this machine only."""
    server = socket.create_server(("10.231.7.1", 0))

    def carry(one: socket.socket, other: socket.socket) -> None:
        try:
            while data := one.recv(65536):
                other.sendall(data)
        except OSError:
            pass
        finally:
            other.close()

    def accept() -> None:
        while True:
            try:
                mine, _ = server.accept()
            except OSError:
                return
            theirs = socket.create_connection(("127.0.0.1", port))
            for pair in ((mine, theirs), (theirs, mine)):
                threading.Thread(target=carry, args=pair, daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return server


def test_a_network_that_is_cut_is_found_within_the_deadline(fleet: ServedFleet, broker: str, namespace: str) -> None:
    """The deadline is 19 s at most at a heartbeat of 10 s."""
    server = _bridge(int(broker.rpartition(":")[2]))
    command = ["ip", "netns", "exec", namespace, sys.executable, "-m", "edgekit.cli.main", "fleet", "simulate"]
    address = f"mqtt://10.231.7.1:{server.getsockname()[1]}"
    options = ["-n", "2", "--heartbeat", "10", "--window", "10", "--prefix", "cut", "--broker", address, "--drain", "0"]
    with subprocess.Popen([*command, *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(online(fleet, 2), "two devices")
            subprocess.run(["ip", "link", "set", f"{NETWORK}0", "down"], check=True)
            wait_for(lambda: set(fleet.presence().values()) == {("offline", "silent")}, "they are missed")
            since = [row.presence_since_ms for row in fleet.store.devices.all()]
        finally:
            process.kill()
            process.wait()
            server.close()
    heard = [max(row.last_seen_ms, row.last_report_ms or 0) for row in fleet.store.devices.all()]
    # the verdict's own clock, not this test's: one heartbeat and the most patience, and a turn
    assert all(told - last <= 20_000 for told, last in zip(since, heard, strict=True))
