"""What looking at rules costs, beside the number of devices: `python -m tests.benchmarks.bench_alerts`."""

import tempfile
import time
from pathlib import Path

from edgekit.fleet.alerts.part import AlertsPart
from edgekit.fleet.alerts.rules import Rule
from edgekit.fleet.alerts.settings import Settings
from edgekit.fleet.alerts.watching import Sources
from edgekit.fleet.store import Arrived, open_store
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import ExpHistogram, Latency, Report

RULES = (
    Rule.written("slow", "p99 > 50"),
    Rule.written("slow-version", "p99 > 50", by="version"),
    Rule.written("hot", "temperature > 80"),
    Rule.written("errors", "error-rate > 0.01"),
    Rule.written("gone", "silent > 60"),
    Rule.written("crashing", "crashes > 2"),
)
REPORTS = 6


def _arrived(device: str, seq: int, at_ms: int) -> Arrived:
    infer, empty = ExpHistogram.of([0.01 + 0.0001 * each for each in range(50)], 4), ExpHistogram(4)
    report = Report(
        ts_ms=at_ms, boot="b", seq=seq, model="kws", version="1.0.0", artifact="sha256:00", runtime="r",
        temperature_c=50.0, executed_on=("CPU",), window_s=10.0, inferences=50,
        latency=Latency(pre=empty, infer=infer, post=empty, e2e=infer),
    )  # fmt: skip
    return Arrived("default", device, at_ms, decode_report(report.to_bytes()))


def main() -> None:
    """Print a table."""
    print("devices  rules  look (ms of CPU, the best of three)")
    for devices in (100, 1_000, 5_000):
        with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{Path(folder)}/f.db") as store:
            now = int(time.time() * 1000)
            for seq in range(1, REPORTS + 1):
                at_ms = now - 10_000 * (REPORTS - seq)
                batch = [_arrived(f"dev-{number:05}", seq, at_ms) for number in range(devices)]
                for begin in range(0, devices, 1_000):
                    store.reports.add(batch[begin : begin + 1_000])
            store.rollups.roll_all()
            part = AlertsPart(sources=Sources.of(store), settings=Settings(rules=RULES))
            part.configure()
            times = []
            for _ in range(3):
                began = time.process_time()
                part.look()
                times.append(time.process_time() - began)
            print(f"{devices:>7}  {len(RULES):>5}  {1000 * min(times):.0f}")


if __name__ == "__main__":
    main()
