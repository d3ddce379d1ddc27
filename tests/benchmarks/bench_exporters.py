"""What exporters cost: totals a report, a scrape in both forms by groups, a Sparkplug message.

Run: python tests/benchmarks/bench_exporters.py
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from edgekit.fleet.export.metrics import Snapshot
from edgekit.fleet.export.prometheus import to_protobuf, to_text
from edgekit.fleet.export.sparkplug.bridge import _values
from edgekit.fleet.export.sparkplug.node import EdgeNode
from edgekit.fleet.store import Arrived, open_store
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import ExpHistogram, Latency, Report

T = TypeVar("T")
GROUPS, DEVICES, ROUNDS = 500, 1_000, 10


def main() -> None:
    """Print the figures."""
    with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{Path(folder)}/fleet.db") as store:
        rng = np.random.default_rng(0)
        for number in range(ROUNDS):
            store.reports.add([_arrived(device, number, rng) for device in range(DEVICES)])
        count = DEVICES * ROUNDS
        _, totals_s = _timed(store.totals.roll_all)
        _, rollups_s = _timed(store.rollups.roll_all)
        print(f"totals of {GROUPS} groups: {1e6 * totals_s / count:.0f} us/report")
        print(f"minutes and hours beside it: {1e6 * rollups_s / count:.0f} us/report, ratio {totals_s / rollups_s:.2f}")
        snapshot, read_s = _timed(lambda: Snapshot.of(store))
        for name, form in (("protobuf", to_protobuf), ("text", to_text)):
            body, form_s = _timed(lambda form=form: b"".join(form(snapshot)))  # type: ignore[misc]
            print(f"scrape, {name}: {1000 * (read_s + form_s):.0f} ms, {len(body) / GROUPS:.0f} B/group")
        node, rows = EdgeNode("g", "n"), store.reports.since(0)
        told, sparkplug_s = _timed(
            lambda: [out for row in rows for out in node.data(row.device, _values(row), row.at_ms, row.at_ms)]
        )
        data = [len(out.payload) for out in told if "/DDATA/" in out.topic]
        births = [len(out.payload) for out in told if "/DBIRTH/" in out.topic]
        each = 1e6 * sparkplug_s / len(rows)
        print(f"sparkplug: {each:.0f} us/report, data {np.mean(data):.0f} B, birth {np.mean(births):.0f} B")


def _arrived(device: int, number: int, rng: np.random.Generator) -> Arrived:
    now_ms = int(time.time() * 1000)
    infer = ExpHistogram.of(rng.lognormal(-4, 0.3, 100).tolist(), 4)
    latency = Latency(pre=infer, infer=infer, post=infer, e2e=infer)
    report = Report(
        ts_ms=now_ms, boot="b", seq=number + 1, model=f"m{device % GROUPS}", version="1.0.0", artifact="sha256:00",
        runtime="r", executed_on=("CPU",), window_s=10.0, inferences=100, latency=latency, cpu_percent=12.5,
        temperature_c=50.0, rss_bytes=10_000_000,
    )  # fmt: skip
    return Arrived("default", f"dev-{device}", now_ms, decode_report(report.to_bytes()))


def _timed(work: Callable[[], T]) -> tuple[T, float]:
    begin = time.process_time()
    return work(), time.process_time() - begin


if __name__ == "__main__":
    main()
