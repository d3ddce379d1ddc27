"""Kill a real agent at random moments of updates, and look after each kill at what its disk holds and what it serves.

`python -m tests.soak.update --kills 500`: a real broker, a real repository over HTTP, an agent process with workers
and fetch processes. Versions follow each other, every third of them bad. Half of the kills take the agent alone, half
all its processes at once, as a power cut does to a device. Exit code 1 if ever no whole model was there.
"""

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgekit.fleet import _brokers as brokers
from edgekit.repo import serving
from edgekit_agent import bundle
from edgekit_agent.errors import AgentError
from edgekit_agent.fetch.slots import marked, slots_of
from edgekit_agent.update.records import Record
from edgekit_agent.update.store import Store
from tests.e2e.updating import TOPIC, Publisher, script

PATIENCE_S = 120.0
LONGEST_LIFE_S = 4.0
BAD_EVERY = 3
CONFIG = """
device = "edge-1"
state_dir = "{state}"
run_dir = "{run}"
[broker]
url = "mqtt://127.0.0.1:{port}"
[telemetry]
window_s = 1
[update]
repository = "{url}"
trial_s = 0.5
trial_inferences = 5
trial_limit_s = 30
reserve_mb = 0
[[model]]
name = "kws"
version = "1.0.0"
path = "{model}"
rate_hz = 50
"""


@dataclass
class Host:
    """What the device says, and the announcements it gets."""

    port: int
    reported: dict[str, Any] = field(default_factory=dict)
    served: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        """Connect and listen."""
        self.client = paho.Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe("ek/1/default/edge-1/#", 1)
        self.client.on_message = self._on_message
        self.client.connect("127.0.0.1", self.port)
        self.client.loop_start()

    def _on_message(self, _client: Any, _data: Any, message: Any) -> None:
        kind = message.topic.rpartition("/")[2]
        if kind == "reported" and message.payload and not message.retain:
            self.reported = json.loads(message.payload)["models"][0]
        if kind == "tele":
            report = json.loads(message.payload)
            if not report["h"]:  # a late one was measured by a process before this one
                self.served.add(report["ver"])

    def announce(self, text: str) -> None:
        self.client.publish(TOPIC, text, qos=1, retain=True)

    def close(self) -> None:
        self.client.disconnect()
        self.client.loop_stop()


@dataclass
class Soak:
    """The device that is killed, and what was seen."""

    folder: Path
    publisher: Publisher
    host: Host
    config: Path
    moments: random.Random
    phases: Counter[str] = field(default_factory=Counter)
    ends: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    between: int = 0
    longest_start_s: float = 0.0
    version: str = ""
    good: set[str] = field(default_factory=lambda: {"1.0.0"})

    @property
    def state(self) -> Path:
        return self.folder / "state"

    def next_version(self) -> None:
        """Publish and announce another version."""
        number = self.publisher.counter + 1
        bad = number % BAD_EVERY == 0
        self.version = f"2.{number}.0"
        self.publisher.release(self.version, script(), wrong_by=0.5 if bad else 0.0)
        if not bad:
            self.good.add(self.version)
        self.host.announce(self.publisher.desired(self.version))

    def start(self) -> subprocess.Popen[bytes]:
        """Start the agent, in a session of its own so that all of it can be killed."""
        with (self.folder / "agent.log").open("ab") as log:
            command = [sys.executable, "-P", "-m", "edgekit_agent", "run", "--config", str(self.config)]
            return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True)

    def kill_once(self) -> None:
        """Start the agent, wait until it serves, let it live for a while, kill it, and look at its disk."""
        self.host.served.clear()
        self.host.reported = {}
        agent = self.start()
        began = time.monotonic()
        serves = self._wait_until_it_serves(agent, began)
        if serves:
            self._look_how_it_went()
            time.sleep(self.moments.uniform(0, LONGEST_LIFE_S))
            self._look_how_it_went()
        with contextlib.suppress(ProcessLookupError):
            if self.moments.random() < 0.5:
                os.kill(agent.pid, signal.SIGKILL)
            else:
                os.killpg(agent.pid, signal.SIGKILL)
        agent.wait()
        time.sleep(0.1)  # what it sent last arrives
        self._check_disk()

    def _wait_until_it_serves(self, agent: "subprocess.Popen[bytes]", began: float) -> bool:
        while time.monotonic() < began + PATIENCE_S:
            if agent.poll() is not None:
                self.bad.append(f"the agent ended by itself with {agent.returncode}")
                return False
            if self.host.served:
                self.longest_start_s = max(self.longest_start_s, time.monotonic() - began)
                strangers = self.host.served - self.good - {self.version}
                if strangers:
                    self.bad.append(f"{strangers} served")
                return True
            time.sleep(0.02)
        self.bad.append(f"nothing served within {PATIENCE_S:g} s of a start")
        return False

    def _look_how_it_went(self) -> None:
        """Announce the next version when an update has come to its end."""
        reported = self.host.reported
        if reported.get("version") == self.version and reported.get("phase") in {"committed", "failed", "rejected"}:
            self.ends[" ".join(filter(None, (reported["phase"], reported.get("reason"))))] += 1
            self.next_version()

    def _check_disk(self) -> None:
        """Assert that what a start would load is whole, byte by byte."""
        records, doubt = Store(self.state).load()
        self.between += doubt is not None  # killed between two renames: the generation before stands
        record = records.of("kws")
        self.phases[record.update.phase if record.update else "idle"] += 1
        current = record.current
        if current is None:
            return  # the configured model
        slot = slots_of(self.state, "kws") / current.slot
        try:
            manifest = bundle.verify_folder(slot)
        except AgentError as exc:
            self.bad.append(f"what serves is damaged: {exc}")
            return
        if marked(slot) != current.sha256 or manifest.version != current.version:
            self.bad.append(f"slot {current.slot} holds {manifest.version}, not {current.version}")
        if current.version not in self.good:
            self.bad.append(f"{current.version} was committed and does not prove itself")
        self._check_previous(record)

    def _check_previous(self, record: Record) -> None:
        before = record.previous
        if before is not None and marked(slots_of(self.state, "kws") / before.slot) != before.sha256:
            self.bad.append(f"the version before, {before.version}, is not in its slot")

    def finish(self) -> str:
        """Let the last update come to its end without a kill, and return what serves."""
        self.host.served.clear()
        agent = self.start()
        began = time.monotonic()
        self._wait_until_it_serves(agent, began)
        ends = {"committed", "failed", "rejected"}
        while time.monotonic() < began + PATIENCE_S:
            reported = self.host.reported
            if reported.get("version") == self.version and reported.get("phase") in ends:
                break
            time.sleep(0.05)
        else:
            self.bad.append(f"the last update is stuck: {self.host.reported}")
        agent.terminate()
        agent.wait()
        self._check_disk()
        return str(self.host.reported.get("serving"))


@contextlib.contextmanager
def prepared(folder: Path, seed: int) -> Iterator[Soak]:
    """Give a broker, a repository and a device that is not started."""
    publisher = Publisher(folder / "publisher")
    publisher.trusted_by(folder / "state")
    model = folder / "first.null"
    model.write_text(script())
    port = brokers.free_port()
    with brokers.running(port, data=folder / "broker"), serving(publisher.repository) as url:
        config = folder / "agent.toml"
        paths = {"state": folder / "state", "run": folder / "run", "model": model}
        config.write_text(CONFIG.format(port=port, url=url, **paths))
        host = Host(port)
        try:
            soak = Soak(folder, publisher, host, config, random.Random(seed))  # noqa: S311  # not a secret
            yield soak
        finally:
            host.close()


def run(kills: int, seed: int, folder: Path) -> Soak:
    """Do it, and return what was seen."""
    with prepared(folder, seed) as soak:
        soak.next_version()
        for number in range(1, kills + 1):
            soak.kill_once()
            if threading.active_count() > 50:
                soak.bad.append("threads of the server pile up")
            if number % 25 == 0:
                print(f"{number} kills, {sum(soak.ends.values())} updates ended, {len(soak.bad)} bad", flush=True)
        serves = soak.finish()
    if serves not in soak.good:
        soak.bad.append(f"{serves} serves in the end")
    return soak


def main() -> None:
    """Run it from the command line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=500)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekit-soak-") as folder:
        soak = run(arguments.kills, arguments.seed, Path(folder))
    print(f"kills                  {arguments.kills}")
    print(f"update's phase then    {', '.join(f'{name} {count}' for name, count in soak.phases.most_common())}")
    print(f"updates that ended     {', '.join(f'{name}: {count}' for name, count in soak.ends.most_common())}")
    print(f"one state back         {soak.between}")
    print(f"start to first report  {soak.longest_start_s:.1f} s at most")
    print(f"without a whole model  {len(soak.bad)}")
    for one in soak.bad:
        print(f"  {one}")
    sys.exit(1 if soak.bad else 0)


if __name__ == "__main__":
    main()
