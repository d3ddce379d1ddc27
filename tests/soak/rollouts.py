"""Kill the service at random moments of rollouts, and look after each whether all is as it should be.

`python -m tests.soak.rollouts --kills 100`: a real mosquitto, `edgekit fleet serve`, real agents that take releases
from a signed repository, and simulated devices. Three series of rollouts go on at once: good ones that are left alone,
paused and resumed, aborted, or rolled back after their end; ones whose release is slower; and some on the real agents.
Meanwhile the service is killed again and again, all its processes at once or the main one alone, also while it starts,
and started again at once. After each rollout its end, its waves, every device's version, the counters and the audit
log are checked (`rollout_checks`), and at any time that no device puts to work what it was told to leave, or has no
leave for (`rollout_witness`). Exit code 1 if not.
"""

import argparse
import asyncio
import contextlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from edgekit.fleet import _brokers as brokers
from edgekit.fleet._url import parse
from edgekit.fleet.simulate import Plan, Summary, simulate
from edgekit.fleet.simulate.faults import parse as fault_of
from tests.benchmarks.fleet_page import write_page
from tests.e2e.rolling import GATES, Agents, agents, good
from tests.e2e.served_fleet import ServedFleet
from tests.soak.rollout_lane import PATIENCE_S, Lane, Series
from tests.soak.rollout_witness import Witness

PAGE = Path(__file__).parents[2] / "docs" / "benchmarks" / "fleet.md"
STARTING_S, LIVE_S, CHANGING_S = 2.0, 6.0, 0.05
"""Within which time it is killed: from its start, from when it is ready, from a change of a rollout in the store."""
ALONE = 0.25
"""How often only its main process is killed."""
SIMULATED = 60
TRIAL_S = 1.0
FIRST = "1.0.0"
SIMULATED_GATES: dict[str, Any] = {
    "latency": [{"quantile": 0.5, "limit": 0.3, "tolerated": 0.05}],
    "least_inferences": 100,
    "alpha": 0.001,
}
WANTED: dict[str, Any] = {"growth": 3, "bake_s": 1, "device_s": 300, "lease_s": 20}


TEXT = """
What becomes of rollouts while the service is killed (-9) again and again and started again at once.

`{command}`: mosquitto, `edgekit fleet serve`, two real agents that take
releases from a signed repository, and simulated devices with connections of their own; three series of rollouts at
once. Kills come while the service starts, while it works, and within 50 ms of a change of a rollout in the store.
After each rollout: it has ended as it should, every device serves what it should, each wave was begun once and after
the one before it, every device was told as often as the store says and acted neither without leave nor against what
it was told, the counters are those of the devices, and the audit log's chain holds.
"""


class Simulated:
    """Simulated devices in a thread of their own."""

    def __init__(self, broker: str, prefix: str, devices: int, *faults: str) -> None:
        """Start them."""
        self._plan = Plan(
            devices=devices,
            broker=parse(broker),
            prefix=prefix,
            version=FIRST,
            window_s=1.0,
            heartbeat_s=2.0,
            rate_hz=50.0,
            trial_s=TRIAL_S,
            ramp_s=1.0,
            drain_s=60.0,
            faults=tuple(map(fault_of, faults)),
        )
        self.names = [one.name for one in self._plan.identities()]
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
            with contextlib.suppress(RuntimeError):  # it has ended meanwhile
                self._loop.call_soon_threadsafe(self._task.cancel)
        self._thread.join(120)
        assert self.summary is not None
        return self.summary


class Soak:
    """All processes and lanes, and what was seen."""

    def __init__(self, folder: Path, seed: int, simulated: int, stack: contextlib.ExitStack) -> None:
        """Start everything."""
        self.moments = random.Random(seed)  # noqa: S311  # moments, no secrets
        self.begun_s = time.monotonic()
        self.kills: Counter[str] = Counter()
        self.at: Counter[str] = Counter()
        self.left: list[psutil.Process] = []
        self.bad: list[str] = []
        executable = brokers.find_mosquitto()
        if executable is None:
            raise SystemExit("needs mosquitto: apt-get install mosquitto")
        port = brokers.free_port()
        (folder / "broker").mkdir()
        broker = brokers.MosquittoBroker(executable, port, folder / "broker")
        stack.callback(broker.stop)
        url = f"mqtt://127.0.0.1:{port}"
        self.fleet = ServedFleet(folder / "service", url)
        stack.callback(self._end_service)
        self.witness = Witness(port)
        stack.callback(self.witness.close)
        self.simulated = [
            Simulated(url, "good", simulated * 2 // 3),
            Simulated(url, "slow", simulated // 3, "slow-update:100%:60%"),
        ]
        for one in self.simulated:
            stack.callback(one.stop)
        self.agents = stack.enter_context(agents(folder / "agents", port, (sys.executable, {})))
        self.agents.start("edge-1", "edge-2")
        self.lanes = self._lanes()

    def _lanes(self) -> list[Lane]:
        quick, slow = self.simulated
        simulated = {**WANTED, "gates": SIMULATED_GATES}
        real = {**WANTED, "gates": dict(GATES), "canary": "1", "filter": "device~edge-*"}
        series = (
            Series(
                name="good",
                devices=quick.names,
                version=FIRST,
                kinds=("good", "abort", "pause", "undo"),
                wanted={**simulated, "canary": "10%", "filter": "device~good-*"},
            ),
            Series(
                name="slow",
                devices=slow.names,
                version=FIRST,
                kinds=("slow",),
                wanted={**simulated, "canary": "4", "filter": "device~slow-*"},
            ),
            Series(
                name="edge",
                devices=list(self.agents.running),
                version="1.2.0",
                kinds=("good", "abort", "pause"),
                wanted=real,
                release=_releases(self.agents),
            ),
        )
        seeds = [self.moments.getrandbits(32) for _ in series]
        return [
            Lane(one, self.fleet, self.witness, random.Random(seed))  # noqa: S311  # moments, no secrets
            for one, seed in zip(series, seeds, strict=True)
        ]

    def run(self, kills: int) -> None:
        """Kill so many times while the lanes go on; then let them end what they have begun."""
        threads = [threading.Thread(target=lane.run) for lane in self.lanes]
        for thread in threads:
            thread.start()
        while self.kills.total() < kills and not any(lane.bad for lane in self.lanes):
            self._live()
            self._kill()
            self.fleet.start()
            if self.kills.total() % 10 == 0:
                print(f"{self.kills.total()} kills: {dict(self.ends)}", file=sys.stderr, flush=True)
        for lane in self.lanes:
            lane.enough.set()
        for thread in threads:
            thread.join(3 * PATIENCE_S)
        self._finish()

    def _live(self) -> None:
        """Let it live until a moment to be killed at."""
        moment = self.moments.choice(("start", "ready", "ready", "change", "change"))
        self.at[moment] += 1
        if moment == "start":
            time.sleep(self.moments.uniform(0.0, STARTING_S))
            return
        self.fleet.ready()
        time.sleep(self.moments.uniform(0.0, LIVE_S))
        if moment == "change":  # what is decided is stored, and perhaps not told yet
            before, end = self.fleet.store.rollouts.revisions(), time.monotonic() + LIVE_S
            while self.fleet.store.rollouts.revisions() == before and time.monotonic() < end:
                time.sleep(0.002)
            time.sleep(self.moments.uniform(0.0, CHANGING_S))

    def _kill(self) -> None:
        alone = self.moments.random() < ALONE
        if alone:
            self.left += self.fleet.ingests()
            self.fleet.kill_main()
        else:
            self.fleet.kill()
        self.kills["main alone" if alone else "all at once"] += 1

    def _finish(self) -> None:
        summaries = [one.stop() for one in self.simulated]
        self.lost = sum(one.lost for one in summaries)
        if self.lost:
            self.bad.append(f"{self.lost} reports are lost")
        if alive := psutil.wait_procs(self.left, timeout=30)[1]:
            self.bad.append(f"ingest processes that outlived their service: {alive}")
        self.fleet.ready()
        if self.fleet.store.desired.pending():
            self.bad.append(f"never published: {self.fleet.store.desired.pending()}")
        listed = self.fleet.server.ask("GET", "/api/v1/rollouts", {"limit": 1000})["rollouts"]
        begun = sorted(name for lane in self.lanes for name in lane.rollouts)
        if sorted(one["id"] for one in listed) != begun:
            self.bad.append(f"{begun} were begun, and there are {sorted(one['id'] for one in listed)}")
        self.audit = self.fleet.store.audit.verify().entries
        if self.fleet.stop() != 0:
            self.bad.append("the service did not end cleanly")
        self.bad += [one for lane in self.lanes for one in lane.bad] + self.witness.bad

    def _end_service(self) -> None:
        self.fleet.kill()
        for one in self.left:
            with contextlib.suppress(psutil.NoSuchProcess):
                one.kill()

    @property
    def ends(self) -> Counter[str]:
        return sum((lane.ends for lane in self.lanes), Counter())

    def to_json(self) -> dict[str, Any]:
        """Return what was done and seen."""
        return {
            "schema": 1,
            "kills": dict(sorted(self.kills.items())),
            "killed at": dict(sorted(self.at.items())),
            "seconds": round(time.monotonic() - self.begun_s),
            "devices": sum(len(lane.devices) for lane in self.lanes),
            "rollouts": sum(self.ends.values()),
            "ends": dict(sorted(self.ends.items())),
            "heard": dict(sorted(self.witness.counts.items())),
            "operator": dict(sorted(sum((lane.counts for lane in self.lanes), Counter()).items())),
            "audit entries": self.audit,
            "bad": self.bad,
        }


def _releases(made: Agents) -> Callable[[str], dict[str, Any]]:
    def release(version: str) -> dict[str, Any]:
        return {"target": made.publisher.release(version, good())}

    return release


def run(kills: int, seed: int, folder: Path, simulated: int = SIMULATED) -> dict[str, Any]:
    """Kill so many times, let all rollouts end, and return what was seen."""
    with contextlib.ExitStack() as stack:
        soak = Soak(folder, seed, simulated, stack)
        soak.run(kills)
        return soak.to_json()


def _write(seen: dict[str, Any], seed: int) -> None:
    kills = sum(seen["kills"].values())
    command = f"python -m tests.soak.rollouts --kills {kills} --seed {seed} --write"
    text = TEXT.format(command=command)
    kinds = ", ".join(f"{count} {name}" for name, count in seen["kills"].items())
    rows = [
        ("kills, the service started again", f"{kills} in {seen['seconds']} s ({kinds})", "100"),
        ("devices", f"{seen['devices']}", ""),
        *((f"rollouts: {name}", str(count), "") for name, count in seen["ends"].items()),
        ("desired states told; told again to a broker that may have lost them", _both(seen, "told"), ""),
        ("releases put to work, or gone back to", f"{seen['heard']['activations']:,}", ""),
        ("questions for leave answered", f"{seen['heard']['leave given']:,}", ""),
        ("entries of the audit log, chained", f"{seen['audit entries']:,}", ""),
        ("what was not as it should be", str(len(seen["bad"])), "0"),
    ]
    write_page(PAGE, "Rollouts and a service that is killed", text, rows)


def _both(seen: dict[str, Any], name: str) -> str:
    return f"{seen['heard'][name]:,}; {seen['heard']['told again after a restart']:,}"


def main() -> int:
    """Run and tell."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--kills", type=int, default=100)
    options.add_argument("--devices", type=int, default=SIMULATED, help="simulated devices beside the real agents")
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks/fleet.md")
    chosen = options.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # all that was started is ended, too
    with tempfile.TemporaryDirectory(prefix="edgekit-rollout-soak-") as folder:
        seen = run(chosen.kills, chosen.seed, Path(folder), chosen.devices)
    print(json.dumps(seen, indent=2))
    if chosen.write:
        _write(seen, chosen.seed)
    return 1 if seen["bad"] else 0


if __name__ == "__main__":
    sys.exit(main())
