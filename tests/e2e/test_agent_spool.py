"""Reports over an outage: the broker away, the agent killed meanwhile, and a host that acknowledges."""

import contextlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import pytest
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgekit_agent.protocol import Report
from edgekit_agent.spool.records import scan
from tests.agent.spooling import Host

pytestmark = pytest.mark.slow

Start = Callable[..., Any]
PATIENCE_S = 60.0
REPORTS_A_FILE = 8
"""At most, in a spool whose files are the smallest."""
MORE_MODELS = "".join(f'[[model]]\nname = "m{number}"\npath = "{{path}}"\nrate_hz = 20\n' for number in range(3))


class StoringHost:
    """A host as the fleet service is one: present, subscribed, and it says what it has stored."""

    def __init__(self, port: int, *, answers: bool = True) -> None:
        """Connect in the background."""
        self.store, self.answers = Host(), answers
        self.arrived: list[Report] = []
        self.events: list[dict[str, Any]] = []
        self.client = paho.Client(CallbackAPIVersion.VERSION2, client_id="host", protocol=MQTTProtocolVersion.MQTTv5)
        self.client.will_set("ek/1/default/$host/state", b'{"st":"offline"}', qos=1, retain=True)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._on_connect
        self.client.on_message = self._on_message
        self.client.connect_async("127.0.0.1", port, keepalive=10)
        self.client.loop_start()

    def _on_connect(self, client: Any, *_: Any) -> None:
        client.subscribe([("ek/1/+/+/tele", 1), ("ek/1/+/+/event", 1)])
        client.publish("ek/1/default/$host/state", b'{"st":"online"}', qos=1, retain=True)

    def _on_message(self, client: Any, _data: Any, message: Any) -> None:
        if message.topic.endswith("/event"):
            self.events.append(json.loads(message.payload))
            return
        report = Report.from_bytes(message.payload)
        self.arrived.append(report)
        self.store.take(report)
        if self.answers:
            mark = {"boot": report.boot, "seq": self.store.marks[report.boot]}
            client.publish("ek/1/default/edge-1/ack", json.dumps(mark))

    def seqs(self, boot: str) -> set[int]:
        return set(self.store.stored.get(boot, {}))

    def stop(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@pytest.fixture
def host() -> Iterator[Callable[..., StoringHost]]:
    """Makes a host."""
    made: list[StoringHost] = []

    def make(port: int, **options: Any) -> StoringHost:
        made.append(StoringHost(port, **options))
        return made[-1]

    yield make
    for one in made:
        one.stop()


@pytest.fixture
def run_agent(start_agent: Start, agent_toml: Start, tmp_path: Path) -> Start:
    """Runs an agent with one model, or with four and a spool of 20 kB."""

    def run(port: int, *, small: bool = False) -> Any:
        more = MORE_MODELS.format(path=tmp_path / "model.null") if small else ""
        text: str = agent_toml(port, more=more)
        return start_agent(text.replace("window_s = 1", "window_s = 1\nspool_mb = 0.02") if small else text)

    return run


def wait_for(condition: Callable[[], Any], what: str) -> Any:
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        if found := condition():
            return found
        threading.Event().wait(0.05)
    pytest.fail(f"{what}: not within {PATIENCE_S:g} s")


def on_disk(tmp_path: Path) -> list[tuple[str, int]]:
    """Return what is in the spool's files, in order, read without the agent's own index."""
    files = sorted((tmp_path / "state" / "spool").glob("*.seg"))
    return [(one.record.boot, one.record.seq) for file in files for one in scan(file.read_bytes())[0]]


def kill(agent: Any) -> None:
    """End it as a lost battery would, as far as a process goes."""
    os.kill(agent.pid, signal.SIGKILL)
    agent.process.wait()


def test_nothing_is_lost_over_an_outage_in_which_the_agent_is_killed(
    make_broker: Start, host: Start, run_agent: Start, tmp_path: Path
) -> None:
    broker = make_broker()
    broker.start()
    one = host(broker.port)
    first = run_agent(broker.port)
    wait_for(lambda: len(one.arrived) >= 2 and not on_disk(tmp_path), "reports are stored and released")
    assert [report.history for report in one.arrived[1:]] == [0] * (len(one.arrived) - 1)
    broker.kill()
    wait_for(lambda: len(on_disk(tmp_path)) >= 4, "reports of the first run wait")
    kill(first)
    waiting = on_disk(tmp_path)
    (boot,) = {name for name, _ in waiting}
    second = run_agent(broker.port)
    wait_for(lambda: len(on_disk(tmp_path)) >= len(waiting) + 4, "reports of the second run wait")
    before = len(one.arrived)
    late = on_disk(tmp_path)
    broker.start()
    wait_for(lambda: not on_disk(tmp_path), "everything was stored and released")
    new_boot = late[-1][0]
    assert one.seqs(boot) == set(range(1, waiting[-1][1] + 1))
    assert one.seqs(new_boot) == set(range(1, max(one.seqs(new_boot)) + 1))
    # what waited came in order and marked as late; what was made afterwards is not in the way
    came = [(report.boot, report.seq) for report in one.arrived[before:] if report.history]
    assert came[: len(late)] == late
    assert not [event for event in one.events if event["code"] == "reports-dropped"]
    assert second.stop() == 0


def test_a_small_spool_keeps_the_newest_and_its_counter_survives_a_kill(
    make_broker: Start, host: Start, run_agent: Start, tmp_path: Path
) -> None:
    broker = make_broker()
    first = run_agent(broker.port, small=True)
    wait_for(lambda: (disk := on_disk(tmp_path)) and disk[0][1] > 1, "the oldest was dropped")
    kill(first)
    last = on_disk(tmp_path)[-1]
    run_agent(broker.port, small=True)
    wait_for(lambda: (disk := on_disk(tmp_path)) and disk[0][0] != last[0], "all of the first run was dropped")
    one = host(broker.port)
    broker.start()
    boot = on_disk(tmp_path)[-1][0]
    wait_for(lambda: one.events and one.store.marks.get(boot) and not on_disk(tmp_path), "the rest has arrived")
    dropped = json.loads((tmp_path / "state" / "spool" / "state.json").read_bytes())["state"]["dropped"]
    seqs = one.seqs(boot)
    assert seqs == set(range(min(seqs), max(seqs) + 1))
    assert one.seqs(last[0]) == set()
    # of the first run all, of this one what came before: what was dropped while it was on its way has arrived
    assert dropped == last[1] + min(seqs) - 1
    # told at once, then once a minute: the first of this run holds what the first run has lost too
    told = [event["detail"] for event in one.events if event["code"] == "reports-dropped"]
    assert told[0]["count"] < told[0]["total"] <= dropped


def test_a_host_that_was_away_gets_what_it_missed_and_others_hear_it_live(
    broker: Any, host: Start, listen: Start, run_agent: Start, tmp_path: Path
) -> None:
    first = host(broker.port)
    listener = listen(broker.port)
    run_agent(broker.port)
    wait_for(lambda: len(first.arrived) >= 2, "reports arrive")
    first.client.publish("ek/1/default/$host/state", b'{"st":"offline"}', qos=1, retain=True).wait_for_publish(10)
    first.stop()
    before = len(listener.of("tele"))
    listener.wait("tele", before + 4)
    missed = on_disk(tmp_path)
    assert len(missed) >= 3
    second = host(broker.port)
    wait_for(lambda: {(report.boot, report.seq) for report in second.arrived} >= set(missed), "the missed ones come")
    assert [(report.boot, report.seq) for report in second.arrived if report.history][: len(missed)] == missed


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """The agent's state folder as a file system of 128 kB; a file in it takes all the room."""
    folder = tmp_path / "state"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", "size=128k", "tmpfs", str(folder)]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("needs to mount a small file system: run as root")
    hog = folder / "hog"
    with contextlib.suppress(OSError), hog.open("wb", buffering=0) as file:
        while file.write(bytes(4096)):
            pass
    yield hog
    subprocess.run(["umount", "-l", str(folder)], check=True)


def test_an_agent_starts_and_reports_on_a_full_disk_and_uses_it_when_it_has_room(
    make_broker: Start, host: Start, run_agent: Start, small_disk: Path, tmp_path: Path
) -> None:
    broker = make_broker()
    agent = run_agent(broker.port)
    wait_for(lambda: "event=reports-in-memory" in agent.log, "it is told that the disk is full")
    assert on_disk(tmp_path) == []
    small_disk.unlink()
    wait_for(lambda: len(on_disk(tmp_path)) >= 4, "reports move to the disk")
    (boot,) = {name for name, _ in on_disk(tmp_path)}
    assert [seq for _, seq in on_disk(tmp_path)][:4] == [1, 2, 3, 4]
    one = host(broker.port)
    broker.start()
    wait_for(lambda: one.seqs(boot) and not on_disk(tmp_path), "everything was stored and released")
    assert one.seqs(boot) == set(range(1, max(one.seqs(boot)) + 1))
    assert agent.process.poll() is None
    assert agent.stop() == 0


def test_a_second_agent_on_the_same_folder_is_refused(
    broker: Any, listen: Start, run_agent: Start, tmp_path: Path
) -> None:
    listener = listen(broker.port)
    first = run_agent(broker.port)
    listener.wait("tele")
    second = run_agent(broker.port)
    assert second.process.wait(PATIENCE_S) == 3
    assert f"error: state_dir '{tmp_path / 'state'}' is in use by another agent" in second.log
    assert first.process.poll() is None
