"""What storing a report costs: a real broker, real ingest processes, the plain paho path beside the chosen one.

`python -m tests.benchmarks.bench_fleet_ingest --reports 60000 --write`: reports of about 960 bytes, 600 inferences and
four stages, over QoS 1 from 200 connections; each is decoded, checked, stored in SQLite (fsync at each commit), rolled
up into its minute and hour, and acknowledged to its device. Processor time is that of the processes, so the figures
hold on a busy machine too; messages a second a core are what one core does in a second when it does nothing else.
`carried` is what was really stored in a second, load and all on this machine.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from edgekit.fleet._brokers import running
from edgekit.fleet.store import Store, open_store
from tests.benchmarks.fleet_page import Row, write_page

DEVICES = 200
WARM = 0.1
LIMIT_S = 900.0
AIMS = {"paho": 8_000, "mqtt5": 20_000}


@dataclass(frozen=True, slots=True)
class Cost:
    """Microseconds of a processor a report, and what was carried."""

    ingest_us: float
    broker_us: float
    carried: float

    @property
    def per_core(self) -> float:
        """Stored messages a second and core of the ingest."""
        return 1e6 / self.ingest_us

    @property
    def per_core_with_broker(self) -> float:
        """The same with the broker's work on that core too."""
        return 1e6 / (self.ingest_us + self.broker_us)


@contextmanager
def _ingest(url: str, port: int, client: str) -> Iterator[psutil.Process]:
    broker = {"host": "127.0.0.1", "port": port, "tls": False, "username": None, "password": None}
    settings = {
        "store": url,
        "broker": {**broker, "ca": None, "cert": None, "key": None},
        "source": "ingest-0",
        "client_id": "bench",
        "shared": False,
        "client": client,
    }
    command = [sys.executable, "-m", "edgekit.fleet.ingest"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(json.dumps(settings) + "\n")
        process.stdin.flush()
        process.stdout.readline()
        try:
            yield psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait()


def _cpu_s(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)


def _wait(store: Store, count: int) -> None:
    end = time.monotonic() + LIMIT_S
    while store.counters.total()["stored"] < count:
        if time.monotonic() > end:
            raise TimeoutError(f"not {count} reports in {LIMIT_S} s")
        time.sleep(0.05)


def measure(client: str, reports: int, store_url: str | None = None) -> Cost:
    """Store so many reports over a path; the first tenth is not counted."""
    with tempfile.TemporaryDirectory() as folder, running(engine="mosquitto") as broker:
        url = store_url or f"sqlite:///{folder}/fleet.db"
        port = int(broker.url.rpartition(":")[2])
        command = [sys.executable, "-m", "tests.benchmarks.fleet_load", str(port), str(DEVICES)]
        with open_store(url) as store, _ingest(url, port, client) as process:
            served = psutil.Process(broker.process.pid)  # type: ignore[attr-defined]  # mosquitto's own
            before = store.counters.total()["stored"]
            load = subprocess.Popen([*command, str(reports)])
            _wait(store, before + int(WARM * reports))
            stored, began = store.counters.total()["stored"], time.monotonic()
            ingest_s, broker_s = _cpu_s(process), _cpu_s(served)
            _wait(store, before + reports)
            took, count = time.monotonic() - began, before + reports - stored
            spent_s, broker_s = _cpu_s(process) - ingest_s, _cpu_s(served) - broker_s
            load.wait()
            # what the ingest has not rolled up yet is part of what a report costs
            began_s = time.process_time()
            rest = store.rollups.roll_all()
            rolled_us = 1e6 * (time.process_time() - began_s) / reports
            print(f"{client}: {reports - rest} of {reports} reports were rolled up meanwhile", file=sys.stderr)
            return Cost(1e6 * spent_s / count + rolled_us, 1e6 * broker_s / count, count / took)


def main() -> None:
    """Measure both paths, print, and write the page if asked to."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--reports", type=int, default=60_000)
    options.add_argument("--store", help="a PostgreSQL URL to store in instead of SQLite")
    options.add_argument("--write", action="store_true", help="write docs/benchmarks/fleet.md")
    chosen = options.parse_args()
    costs = {client: measure(client, chosen.reports, chosen.store) for client in AIMS}
    rows: list[Row] = []
    for client, cost in costs.items():
        rows += [
            (f"{client}: ingest, processor a report", f"{cost.ingest_us:.1f} us", ""),
            (f"{client}: mosquitto, processor a report", f"{cost.broker_us:.1f} us", ""),
            (
                f"{client}: stored messages a second and core of the ingest",
                f"{cost.per_core:,.0f}",
                f"{AIMS[client]:,}",
            ),
            (f"{client}: the same with mosquitto on that core", f"{cost.per_core_with_broker:,.0f}", ""),
            (f"{client}: carried, load on the same machine", f"{cost.carried:,.0f} a second", ""),
        ]
    ratio = costs["paho"].ingest_us / costs["mqtt5"].ingest_us
    rows.append(("paho's processor time over mqtt5's", f"{ratio:.2f}", ""))
    for name, value, aim in rows:
        print(f"{name}: {value}" + (f" (aim {aim})" if aim else ""))
    if chosen.write:
        write_page(Path(__file__).parents[2] / "docs/benchmarks/fleet.md", "Ingest", __doc__ or "", rows)


if __name__ == "__main__":
    main()
