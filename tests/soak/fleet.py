"""Kill broker, service, ingest and agents at random moments under load, and count every report afterwards.

`python -m tests.soak.fleet --kills 100`: a real mosquitto, `edgekit fleet serve`, real agents with their spools on the
disk, and simulated devices for the load. After the last kill everything is let settle. Then no number may be missing
that a device was told is stored, nor any other up to a boot's watermark; none may be there twice; and the counters
must say exactly what the tables hold. Exit code 1 if not.
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
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
from paho.mqtt.enums import CallbackAPIVersion
from sqlalchemy import func, select

from edgekit.fleet import _brokers as brokers
from edgekit.fleet.store import Store, open_store
from edgekit.fleet.store.tables import BOOTS, DEVICES, REPORTS
from tests.e2e.served_fleet import ServedFleet

AGENTS = 3
SIMULATED = 100
LIVE_S = (0.5, 4.0)
SETTLE_S = 600.0
VICTIMS = ("broker", "ingest", "ingest", "service", "agent")
CONFIG = """
device = "{name}"
state_dir = "{folder}/state"
run_dir = "{folder}/run"
[broker]
url = "mqtt://127.0.0.1:{port}"
[telemetry]
window_s = {window_s}
settle_s = {window_s}
[[model]]
name = "kws"
version = "1.0.0"
path = "{model}"
rate_hz = 20
"""
SCRIPT = {
    "inputs": [{"name": "x", "shape": [1, 4], "dtype": "float32"}],
    "outputs": [{"name": "y", "shape": [1, 2], "dtype": "float32"}],
    "latency_ms": [5.0],
}


class Observer:
    """Hears what devices are told; comes back by itself when the broker does."""

    def __init__(self, port: int) -> None:
        """Connect in the background."""
        self.told: dict[tuple[str, str], int] = {}
        self.stores = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "observer", protocol=paho.MQTTv5)
        self.client.reconnect_delay_set(1, 1)
        self.client.on_connect = self._connected
        self.client.on_message = self._message
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, *_: Any) -> None:
        self.client.subscribe([("ek/1/+/+/ack", 1), ("ek/1/default/$host/state", 1)])

    def _message(self, _client: Any, _data: Any, message: Any) -> None:
        if message.topic.endswith("/state"):
            if json.loads(message.payload)["st"] == "online":
                self.stores.set()
            return
        body, device = json.loads(message.payload), message.topic.split("/")[3]
        key = (device, body["boot"])
        self.told[key] = max(self.told.get(key, 0), body["seq"])

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


@dataclass
class Soak:
    """All processes, and what was seen."""

    folder: Path
    moments: random.Random
    simulated: int = SIMULATED
    url: str = ""  # of the store; SQLite in the service's folder where it is empty
    ingest: int = 1
    victims: tuple[str, ...] = VICTIMS
    kills: Counter[str] = field(default_factory=Counter)
    bad: list[str] = field(default_factory=list)
    figures: dict[str, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start everything."""
        self.port = brokers.free_port()
        self.model = self.folder / "model.null"
        self.model.write_text(json.dumps(SCRIPT))
        executable = brokers.find_mosquitto()
        if executable is None:
            raise SystemExit("needs mosquitto: apt-get install mosquitto")
        self.executable = executable
        (self.folder / "broker").mkdir()
        self.broker = self.start_broker()
        options = ["--ingest", str(self.ingest), *(["--store", self.url] if self.url else [])]
        self.service = ServedFleet(self.folder / "service", f"mqtt://127.0.0.1:{self.port}", *options)
        self.observer = Observer(self.port)
        # before there is a host the broker's word is enough for a device, and nobody keeps what it sends
        if not self.observer.stores.wait(SETTLE_S):
            raise SystemExit("the service did not come up")
        self.agents = {f"agent-{number}": self.start_agent(f"agent-{number}") for number in range(AGENTS)}
        self.load = self.start_load()

    # --- the processes

    def start_broker(self) -> brokers.MosquittoBroker:
        """Start the broker on its port, with what it kept."""
        return brokers.MosquittoBroker(self.executable, self.port, self.folder / "broker")

    def _start(self, log: str, *arguments: str) -> "subprocess.Popen[bytes]":
        with (self.folder / log).open("ab") as told, (self.folder / "errors.log").open("ab") as errors:
            return subprocess.Popen(
                [sys.executable, *arguments],
                stdin=subprocess.DEVNULL,
                stdout=told,
                stderr=errors,
                start_new_session=True,
            )

    def start_agent(self, name: str) -> "subprocess.Popen[bytes]":
        """Start an agent with what it has on its disk."""
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        config = folder / "agent.toml"
        config.write_text(CONFIG.format(name=name, folder=folder, port=self.port, model=self.model, window_s=1))
        return self._start(f"{name}.log", "-P", "-m", "edgekit_agent", "run", "--config", str(config))

    def start_load(self) -> "subprocess.Popen[bytes]":
        """Start the simulated devices, a report a second each."""
        plan = ("-n", str(self.simulated), "--window", "1", "--broker", f"mqtt://127.0.0.1:{self.port}", "--json")
        return self._start("load.json", "-m", "edgekit.cli.main", "fleet", "simulate", *plan, "--drain", "300")

    # --- kills

    def kill_once(self) -> None:
        """Kill something and start it again; the service starts its ingest itself."""
        time.sleep(self.moments.uniform(*LIVE_S))
        victim = self.moments.choice(self.victims)
        self.kills[victim] += 1
        if victim == "broker":
            self.broker.process.kill()
            self.broker.process.wait()
            time.sleep(self.moments.uniform(0, 2))
            self.broker = self.start_broker()
        elif victim == "ingest":
            for ingest in self.service.ingests():
                with contextlib.suppress(psutil.NoSuchProcess):
                    ingest.kill()
        elif victim == "service":
            self.service.kill()
            self.service.start()
        else:
            name = self.moments.choice(sorted(self.agents))
            self._kill(self.agents[name])
            self.agents[name] = self.start_agent(name)

    def _kill(self, process: "subprocess.Popen[bytes]") -> None:
        """Kill all processes of a session at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()

    # --- the end

    def settle(self) -> None:
        """Stop the sources, and wait until all that they have is stored."""
        for process in self.agents.values():
            process.send_signal(signal.SIGTERM)
        self.load.send_signal(signal.SIGTERM)
        self.load.wait(SETTLE_S)
        for process in self.agents.values():
            process.wait(60)
        # an agent goes on with its spool when it starts again: once more, to hand over the rest
        self.agents = {name: self.start_agent(name) for name in self.agents}
        end = time.monotonic() + SETTLE_S
        with open_store(self.service.store_url) as store:
            while not self._quiet(store) and time.monotonic() < end:
                time.sleep(2.0)
        for process in self.agents.values():
            process.send_signal(signal.SIGTERM)
            process.wait(60)
        time.sleep(2.0)
        if self.service.stop() != 0:
            self.bad.append("the service did not end cleanly")
        with open_store(self.service.store_url) as store:
            self.check(store)

    def _quiet(self, store: Store) -> bool:
        """Whether no boot that is over has gaps any more."""
        with store.engine.connect() as connection:
            open_ones = connection.scalar(select(func.count()).select_from(BOOTS).where(BOOTS.c.above != ""))
        return not open_ones

    def check(self, store: Store) -> None:
        """Count what is there."""
        with store.engine.connect() as connection:
            rows = connection.execute(
                select(DEVICES.c.device, BOOTS.c.boot, BOOTS.c.watermark, BOOTS.c.above, BOOTS.c.id).join(
                    BOOTS, BOOTS.c.device_id == DEVICES.c.id
                )
            ).all()
            seqs: dict[int, list[int]] = {row.id: [] for row in rows}
            for boot, seq in connection.execute(select(REPORTS.c.boot_id, REPORTS.c.seq)):
                seqs[boot].append(seq)
        for row in rows:
            have = set(seqs[row.id])
            if len(have) != len(seqs[row.id]):
                self.bad.append(f"{row.device} {row.boot}: {len(seqs[row.id]) - len(have)} reports are there twice")
            told = self.observer.told.get((row.device, row.boot), 0)
            if told > row.watermark:
                self.bad.append(f"{row.device} {row.boot}: {told} was acknowledged, {row.watermark} is stored")
            missing = set(range(1, row.watermark + 1)) - have
            if missing:
                self.bad.append(f"{row.device} {row.boot}: {len(missing)} reports are missing below {row.watermark}")
            if row.above:
                self.bad.append(f"{row.device} {row.boot}: gaps before {row.above}")
        self._check_counters(store, sum(map(len, seqs.values())))
        self._check_load()

    def _check_counters(self, store: Store, reports: int) -> None:
        counted = Counter[str]()
        for source, values in store.counters.by_source().items():
            if source.startswith("ingest"):
                counted.update(values)
        self.figures |= {"reports": reports, "duplicates": counted["duplicate"], "rejected": counted["rejected"]}
        if counted["stored"] != reports:
            self.bad.append(f"counted as stored: {counted['stored']}, stored: {reports}")
        if counted["received"] != sum(counted[name] for name in ("stored", "duplicate", "rejected", "throttled")):
            self.bad.append(f"the counters do not add up: {dict(counted)}")
        if counted["rejected"]:
            self.bad.append(f"{counted['rejected']} reports were rejected")

    def _check_load(self) -> None:
        told = json.loads((self.folder / "load.json").read_text() or "{}")
        self.figures |= {"made by simulated devices": told.get("made", 0), "acknowledged to them": told.get("acked", 0)}
        # what waits at the end was not acknowledged yet, and a device that lives would send it again
        self.figures |= {"waiting with them": told.get("waiting", 0)}
        if not told or told["lost"] or told["acked"] + told["waiting"] != told["made"]:
            self.bad.append(f"simulated devices: {told}")

    def close(self) -> None:
        """End what still runs."""
        self.observer.close()
        for process in (*self.agents.values(), self.load):
            self._kill(process)
        self.service.kill()
        self.broker.stop()


def run(kills: int, seed: int, folder: Path, simulated: int = SIMULATED, **more: Any) -> Soak:
    """Kill so many times, let it settle, and return what was seen; `more` is of `Soak`."""
    soak = Soak(folder, random.Random(seed), simulated, **more)  # noqa: S311  # moments, no secrets
    try:
        for number in range(kills):
            soak.kill_once()
            if number % 10 == 9:
                print(f"{number + 1} kills: {dict(soak.kills)}", flush=True)
        soak.settle()
    finally:
        soak.close()
    return soak


def main() -> int:
    """Run and tell."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--devices", type=int, default=SIMULATED, help="simulated devices beside the real agents")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--store", default="", help="URL of an empty store [default: SQLite]")
    options.add_argument("--ingest", type=int, default=1, help="ingest processes")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="edgekit-fleet-soak-") as folder:
        soak = run(chosen.kills, chosen.seed, Path(folder), chosen.devices, url=chosen.store, ingest=chosen.ingest)
    print(f"{sum(soak.kills.values())} kills: {dict(soak.kills)}; {soak.figures}")
    for line in soak.bad:
        print(f"BAD: {line}")
    return 1 if soak.bad else 0


if __name__ == "__main__":
    sys.exit(main())
