"""Percentiles of a fleet out of the store: an hour of 1,000 devices.

`python -m tests.benchmarks.bench_fleet_store --write`: reports of 600 inferences and four stages, one a device every
`--every` seconds for an hour; minutes and hours rolled up. The hour asked for begins at no full hour, so its 60
minutes of every device are merged. Times are the best of three, on an open store.
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path

from edgekit.fleet.store import Arrived, Question, Store, open_store
from edgekit.fleet.wire import decode_report
from tests.benchmarks.fleet_load import make_report
from tests.benchmarks.fleet_page import Row, write_page

HOUR_MS = 3_600_000
BEGIN_MS = 500_000 * HOUR_MS + 17 * 60_000
AIM_S = 1.0


def fill(store: Store, devices: int, every_s: int) -> float:
    """Store an hour of reports; return processor microseconds a report, roll-ups among them."""
    made = [decode_report(make_report(number, ts_ms=0).to_bytes()) for number in range(20)]
    import msgspec

    spent, count = 0.0, 0
    for step in range(0, 3600, every_s):
        at_ms = BEGIN_MS + 1000 * step
        batch = [
            Arrived(
                "default",
                f"dev-{number:05d}",
                at_ms,
                msgspec.structs.replace(made[number % len(made)], seq=step // every_s + 1, ts_ms=at_ms),
            )
            for number in range(devices)
        ]
        began = time.process_time()
        store.reports.add(batch)
        spent += time.process_time() - began
        count += len(batch)
    began = time.process_time()
    store.rollups.roll_all()
    return 1e6 * (spent + time.process_time() - began) / count


def best_s(work: Callable[[], object]) -> tuple[float, float]:
    """Return the shortest of three times, and the least processor time."""
    walls, spent = [], []
    for _ in range(3):
        began, began_s = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - began)
        spent.append(time.process_time() - began_s)
    return min(walls), min(spent)


def main() -> None:
    """Measure, print, and write the page if asked to."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=1000)
    options.add_argument("--every", type=int, default=10, help="seconds between a device's reports")
    options.add_argument("--store", help="a PostgreSQL URL to store in instead of SQLite")
    options.add_argument("--write", action="store_true", help="write docs/benchmarks/fleet.md")
    chosen = options.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "fleet.db"
        with open_store(chosen.store or f"sqlite:///{path}") as store:
            cost_us = fill(store, chosen.devices, chosen.every)
            hour = Question(from_ms=BEGIN_MS, to_ms=BEGIN_MS + HOUR_MS)
            (whole,) = store.series.points(hour)
            questions = {
                "p99 of the fleet over an hour": hour,
                "p99 of each device over an hour": replace(hour, group="device"),
                "p99 of the fleet in each of 60 minutes": replace(hour, step_s=60),
            }
            times = {name: best_s(partial(store.series.points, asked)) for name, asked in questions.items()}
        rows: list[Row] = [
            (name, f"{1000 * wall:.0f} ms ({1000 * spent:.0f} ms of processor)", f"{AIM_S:g} s")
            for name, (wall, spent) in times.items()
        ]
        rows += [
            ("devices, reports, inferences", f"{chosen.devices:,}, {whole.reports:,}, {whole.inferences:,}", ""),
            ("processor to store and roll up a report", f"{cost_us:.1f} us", ""),
        ]
        if chosen.store is None:
            rows.append(
                ("on the disk, a report and its roll-ups", f"{path.stat().st_size / whole.reports:.0f} bytes", "")
            )
    for name, value, aim in rows:
        print(f"{name}: {value}" + (f" (aim {aim})" if aim else ""))
    if chosen.write:
        write_page(
            Path(__file__).parents[2] / "docs/benchmarks/fleet.md", "Questions to the store", __doc__ or "", rows
        )


if __name__ == "__main__":
    main()
