"""From a crossed threshold to the last device told: `python -m tests.benchmarks.bench_rollout_abort --devices 1000`.

Real mosquitto, a real store on the disk, the driver as `fleet serve` runs it (a turn each half second), and as many
connected subscribers as devices, on one event loop of their own process. All devices have taken a release; then
reports that are 30 % slower are committed to the store, and the clock runs until every device has its old release
named. The subscribers speak MQTT 3.1.1 with as little as that needs, so that what is timed is the service and broker.
"""

import argparse
import asyncio
import json
import multiprocessing
import statistics
import struct
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np

from edgekit.fleet import _brokers as brokers
from edgekit.fleet._url import parse
from edgekit.fleet.rollout.driver import Driver
from edgekit.fleet.rollout.orders import Wanted, begin
from edgekit.fleet.rollout.plan import Gates, Release
from edgekit.fleet.rollout.state import JobStatus, Status
from edgekit.fleet.service.health import Health
from edgekit.fleet.service.host import HostLink
from edgekit.fleet.store import Arrived, DeviceKey, open_store
from edgekit.fleet.wire import decode, decode_report
from edgekit_agent.protocol import Kind, Latency, ModelPhase, Report, Reported, State, device_topic
from tests.benchmarks.rollout_fleet import Change, Fleet, Habits

SITE, WINDOW_MS, KNOWN = "bench", 10_000, 30
QUIET = Habits()
NEW, SLOWER = "2.0.0", Change(whole=0.26)


class Hub:
    """The store, the service's own connection to the broker, and the driver of its part for rollouts."""

    def __init__(self, url: str, port: int) -> None:
        """Connect."""
        self.store = open_store(url)
        self.link = HostLink(parse(f"mqtt://127.0.0.1:{port}"), SITE, Health())
        self.link.start()
        while not self.link.connected:
            time.sleep(0.05)
        self.driver = Driver(self.store, self.link)

    def turn(self) -> None:
        """Do what is due."""
        self.driver.tick(time.time_ns() // 1_000_000)

    def close(self) -> None:
        """End."""
        self.link.stop()
        self.store.close()


def name(number: int) -> str:
    """Return a device's name."""
    return f"dev-{number:05}"


# --- subscribers


async def subscriber(number: int, port: int, inbox: "asyncio.Queue[tuple[int, float, bytes]]") -> None:
    """Connect, subscribe to `desired`, and pass on what comes with the moment it came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    client, topic = name(number).encode(), device_topic(SITE, name(number), Kind.DESIRED).encode()
    connect = b"\x00\x04MQTT\x04\x02" + struct.pack("!H", 0) + struct.pack("!H", len(client)) + client
    subscribe = struct.pack("!HH", 1, len(topic)) + topic + b"\x01"
    writer.write(b"\x10" + _length(len(connect)) + connect + b"\x82" + _length(len(subscribe)) + subscribe)
    while True:
        kind = (await reader.readexactly(1))[0]
        size, shift = 0, 0
        while True:
            byte = (await reader.readexactly(1))[0]
            size |= (byte & 127) << shift
            shift += 7
            if byte < 128:  # the last byte of a length
                break
        body = await reader.readexactly(size)
        if kind >> 4 == 9:  # SUBACK
            await inbox.put((number, time.monotonic(), b""))
        elif kind >> 4 == 3:  # PUBLISH
            at = 2 + struct.unpack_from("!H", body)[0]
            if kind & 6:
                writer.write(b"\x40\x02" + body[at : at + 2])
                at += 2
            await inbox.put((number, time.monotonic(), body[at:]))


def _length(size: int) -> bytes:
    found = b""
    while True:
        size, low = size >> 7, size & 127
        found += bytes([low | (128 if size else 0)])
        if not size:
            return found


def subscribers(count: int, port: int, pipe: Connection) -> None:
    """Run subscribers, and send on what they get."""

    async def run() -> None:
        inbox: asyncio.Queue[tuple[int, float, bytes]] = asyncio.Queue()
        tasks = []
        for number in range(count):
            tasks.append(asyncio.create_task(subscriber(number, port, inbox)))
            if number % 50 == 49:  # a broker's queue of connections is short
                await asyncio.sleep(0.1)
        while True:
            pipe.send(await inbox.get())

    asyncio.run(run())


# --- the rollout


def reports(hub: Hub, fleet: Fleet, windows: int, version: str, seq: int) -> int:
    """Commit windows of every device, the last of which ends now; return the next number."""
    now_ms = time.time_ns() // 1_000_000
    for window in range(windows):
        changed = dict.fromkeys(range(len(fleet.level)), SLOWER) if version == NEW else {}
        at_ms = now_ms - (windows - 1 - window) * WINDOW_MS
        batch = []
        for number, one in enumerate(fleet.windows(changed)):
            h = one.histogram
            body = Report(
                ts_ms=at_ms, boot="boot", seq=seq, model="kws", version=version, artifact="a", runtime="null",
                executed_on=("CPU",), window_s=10.0, inferences=h.count, latency=Latency(pre=h, infer=h, post=h, e2e=h),
            )  # fmt: skip
            batch.append(Arrived(SITE, name(number), at_ms, decode_report(body.to_bytes())))
        hub.store.reports.add(batch)
        seq += 1
    return seq


def answer(hub: Hub, number: int, body: dict[str, Any]) -> None:
    """Report that a device has taken what it was told."""
    (model,) = body["models"]
    phase = ModelPhase(name="kws", version=model["version"], phase="committed", serving=model["version"])
    raw = Reported(version=body["v"], models=(phase,)).to_bytes()
    key = DeviceKey(SITE, name(number))
    hub.store.devices.put_reported(key, decode(Kind.REPORTED, raw), raw, time.time_ns() // 1_000_000)  # type: ignore[arg-type]  # of that kind


def once(devices: int, folder: Path) -> dict[str, float]:
    """Go through one rollout of all devices that is aborted, and time its end."""
    port = brokers.free_port()
    kind = brokers.find_mosquitto()
    if kind is None:
        raise SystemExit("needs mosquitto")
    broker = brokers.MosquittoBroker(kind, port, folder)
    mine, theirs = multiprocessing.Pipe()
    process = multiprocessing.get_context("spawn").Process(target=subscribers, args=(devices, port, theirs))
    process.start()
    hub = Hub(f"sqlite:///{folder}/fleet.db", port)
    try:
        return _timed(hub, devices, mine)
    finally:
        hub.close()
        process.terminate()
        process.join()
        broker.stop()


def _taken(hub: Hub, devices: int, pipe: Connection) -> tuple[str, Fleet, int]:
    """Roll out to all devices, and wait until they have it and were watched for a window."""
    ready: set[int] = set()
    while len(ready) < devices:
        ready.add(pipe.recv()[0])
    for number in range(devices):
        raw = State(state="online", birth=1, boot="boot").to_bytes()
        hub.store.devices.put_state(
            DeviceKey(SITE, name(number)), decode(Kind.STATE, raw), time.time_ns() // 1_000_000  # type: ignore[arg-type]  # of that kind
        )  # fmt: skip
    fleet = Fleet(devices, QUIET, np.random.default_rng(1))
    seq = reports(hub, fleet, KNOWN, "1.0.0", 1)
    wanted = Wanted(
        release=Release(model="kws", version=NEW), canary="0", max_concurrent=devices, bake_s=3600,
        gates=Gates(silent=None), device_s=3600,
    )  # fmt: skip
    rollout = begin(hub.store, wanted, hub.store.devices.all(), "bench").id
    told: set[int] = set()
    while len(told) < devices:
        hub.turn()
        while pipe.poll(0.02):
            number, _, payload = pipe.recv()
            body = json.loads(payload)
            if body.get("rollout") == rollout and number not in told:
                told.add(number)
                answer(hub, number, body)
    while not all(job.status is JobStatus.COMMITTED for job in _row(hub, rollout).state.jobs.values()):
        hub.turn()
    end = time.monotonic() + WINDOW_MS / 1000 + 0.5
    while time.monotonic() < end:  # until there are windows that began after all had it
        hub.turn()
        time.sleep(0.5)
    return rollout, fleet, seq


def _timed(hub: Hub, devices: int, pipe: Connection) -> dict[str, float]:
    """Commit reports that are slower, and time until every device is told."""
    rollout, fleet, seq = _taken(hub, devices, pipe)
    began = time.monotonic()
    reports(hub, fleet, 1, NEW, seq)
    committed, cpu = time.monotonic(), time.process_time()
    back: dict[int, float] = {}
    turns = 0
    while len(back) < devices:
        due = time.monotonic() + 0.5
        hub.turn()
        turns += 1
        while len(back) < devices and pipe.poll(max(0.0, due - time.monotonic())):
            number, at, payload = pipe.recv()
            if json.loads(payload)["models"][0].get("back"):
                back.setdefault(number, at)
    assert _row(hub, rollout).state.status in {Status.ROLLING_BACK, Status.ROLLED_BACK}
    last = max(back.values()) - committed
    cpu = time.process_time() - cpu
    return {
        "stored_s": committed - began,
        "service_cpu_s": cpu,
        "first_s": min(back.values()) - committed,
        "last_s": last,
        "turns": turns,
    }


def _row(hub: Hub, rollout: str) -> Any:
    return hub.store.rollouts.get(rollout)


def main() -> None:
    """Print how long it took."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", type=int, default=1000)
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    found = []
    for _ in range(options.runs):
        with tempfile.TemporaryDirectory() as folder:
            found.append(once(options.devices, Path(folder)))
        print({key: round(value, 2) for key, value in found[-1].items()}, flush=True)
    worst = max(one["last_s"] for one in found)
    middle = statistics.median(one["last_s"] for one in found)
    text = f"{options.devices} devices: the last was told {middle:.2f} s (median; worst {worst:.2f} s) after the commit"
    print(f"{text}; the turns of the service add up to 0.5 s")


if __name__ == "__main__":
    main()
