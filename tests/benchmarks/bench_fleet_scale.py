"""A whole fleet on this machine, for minutes: what it costs, how far the store lags, and that nothing is lost.

`python -m tests.benchmarks.bench_fleet_scale [--devices 1000] [--multiplex 1] [--for 600] [--write]`
A real mosquitto, `edgekit fleet serve`, three real agents that run a model, simulated devices which report every ten
seconds, each on its own connection unless `--multiplex` joins them, and the page open in headless Chromium. Every
report that was made is looked for in the store at the end. Exit code 1 if one is missing or there twice, or if the
store was ever five seconds behind.
"""

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from docs.make_screenshots import small
from edgekit.fleet import _brokers as brokers
from edgekit.fleet.store import Store, open_store
from edgekit.fleet.store.tables import DEVICES, REPORTS
from tests.benchmarks.bench_fleet_page import PROBE
from tests.benchmarks.fleet_page import write_page
from tests.e2e.served_fleet import ServedFleet
from tests.sdk.fleet.web.browser import CHROMIUM, Browser, with_token
from tests.soak.fleet import CONFIG

ROOT = Path(__file__).resolve().parents[2]
SHARED = ROOT.parent / "shared" / "data" / "kws-dscnn" / "kws_ref_model.tflite"
SMALL = ROOT / "tests" / "data" / "models" / "conv.tflite"
PAGE = ROOT / "docs" / "benchmarks" / "fleet.md"
IMAGES = ROOT / "docs" / "images"
AGENTS = 3
POLL_S = 0.1
LAG_LIMIT_S = 5.0
SETTLED = 0.25  # of the time the fleet comes up, and is not measured
SETTLED_MOST_S = 60.0
END_S = 90.0
PAINT_S = 10.0


@dataclass
class Used:
    """What a kind of processes took between two moments; processor in shares of a core."""

    cpu: float = 0.0
    rss_bytes: int = 0


@dataclass
class Fleet:
    """All processes of a run, in a folder."""

    folder: Path
    broker: brokers.MosquittoBroker
    port: int
    service: ServedFleet
    others: dict[str, list["subprocess.Popen[bytes]"]] = field(default_factory=dict)

    def kinds(self) -> dict[str, list[psutil.Process]]:
        """Return the processes of each kind; what the service starts is apart from it."""
        service, ingest = psutil.Process(self.service.process.pid), self.service.ingests()
        others = {kind: [psutil.Process(one.pid) for one in some] for kind, some in self.others.items()}
        return {"mosquitto": _family(self.broker.process.pid), "ingest": ingest, "service": [service], **others}

    def start(self, kind: str, log: str, *arguments: str) -> "subprocess.Popen[bytes]":
        """Start a process of a kind."""
        process = _start(self.folder / log, *arguments)
        self.others.setdefault(kind, []).append(process)
        return process


def _family(pid: int) -> list[psutil.Process]:
    one = psutil.Process(pid)
    return [one, *one.children(recursive=True)]


def _start(log: Path, *arguments: str) -> "subprocess.Popen[bytes]":
    with log.open("ab") as out, log.with_suffix(".errors").open("ab") as errors:
        return subprocess.Popen([sys.executable, *arguments], stdin=subprocess.DEVNULL, stdout=out, stderr=errors)


@contextlib.contextmanager
def running(folder: Path, arguments: list[str]) -> Iterator[Fleet]:
    """Start broker, service and agents; everything is ended at the end."""
    executable = brokers.find_mosquitto()
    if executable is None:
        raise SystemExit("needs mosquitto: apt-get install mosquitto")
    port = brokers.free_port()
    (folder / "broker").mkdir()
    broker = brokers.MosquittoBroker(executable, port, folder / "broker")
    fleet = Fleet(folder, broker, port, ServedFleet(folder / "service", broker.url, *arguments))
    try:
        for number in range(AGENTS):
            _start_agent(fleet, f"real-{number}")
        yield fleet
    finally:
        started = [one for some in fleet.others.values() for one in some]
        for process in started:
            process.terminate()
        for process in started:
            process.wait(END_S)
        fleet.service.stop()
        broker.stop()


def _start_agent(fleet: Fleet, name: str) -> None:
    folder = fleet.folder / name
    folder.mkdir()
    model = SHARED if SHARED.exists() else SMALL
    config = folder / "agent.toml"
    config.write_text(CONFIG.format(name=name, folder=folder, port=fleet.port, model=model, window_s=10))
    fleet.start("agents", f"{name}.log", "-P", "-m", "edgekit_agent", "run", "--config", str(config))


class Lag:
    """How far the store is behind the devices: from the end of a report's window to where others can read it."""

    def __init__(self, store: Store) -> None:
        """Begin to look, in a thread."""
        self._store, self._cursor = store, 0
        self._stopping = threading.Event()
        self.whole_s: list[float] = []
        self.stored_s: list[float] = []
        self._thread = threading.Thread(target=self._look)
        self._thread.start()

    def _look(self) -> None:
        columns = (REPORTS.c.id, REPORTS.c.ts_ms, REPORTS.c.arrived_ms, REPORTS.c.history)
        while not self._stopping.wait(POLL_S):
            with self._store.engine.connect() as connection:
                rows = connection.execute(select(*columns).where(REPORTS.c.id > self._cursor)).all()
            now_ms = time.time_ns() / 1e6
            for number, ts_ms, arrived_ms, history in rows:
                self._cursor = max(self._cursor, number)
                self.stored_s.append((now_ms - arrived_ms) / 1000)
                if not history:
                    self.whole_s.append((now_ms - ts_ms) / 1000)

    def forget(self) -> None:
        """Begin anew."""
        self.whole_s.clear()
        self.stored_s.clear()

    def stop(self) -> None:
        """End."""
        self._stopping.set()
        self._thread.join()


class Costs:
    """What every kind of processes takes from now on."""

    def __init__(self, fleet: Fleet) -> None:
        """Begin to count."""
        self._fleet, self._begun_s = fleet, time.monotonic()
        self._before = {kind: _cpu_s(some) for kind, some in fleet.kinds().items()}

    def end(self) -> dict[str, Used]:
        """Return what was used since."""
        took_s = time.monotonic() - self._begun_s
        return {
            kind: Used((_cpu_s(some) - self._before[kind]) / took_s, sum(one.memory_info().rss for one in some))
            for kind, some in self._fleet.kinds().items()
        }


def _cpu_s(processes: list[psutil.Process]) -> float:
    return float(sum(sum(one.cpu_times()[:2]) for one in processes))


def measure(fleet: Fleet, chosen: argparse.Namespace) -> dict[str, Any]:
    """Let the devices live, and return all figures."""
    settled_s = min(SETTLED_MOST_S, SETTLED * chosen.seconds)
    plan = ["-n", str(chosen.devices), "--multiplex", str(chosen.multiplex), "--for", str(chosen.seconds)]
    where = ["--broker", f"mqtt://127.0.0.1:{fleet.port}", "--drain", "60", "--json"]
    load = fleet.start("simulate", "load.log", "-m", "edgekit.cli.main", "fleet", "simulate", *plan, *where)
    with open_store(fleet.service.store_url) as store:
        lag = Lag(store)
        try:
            time.sleep(settled_s)
            lag.forget()
            costs = Costs(fleet)
            time.sleep(max(1.0, chosen.seconds - settled_s - (2 * PAINT_S if chosen.page else 0.0)))
            used = costs.end()
            page = _page(fleet, chosen) if chosen.page else {}
            load.wait(chosen.seconds + END_S)
        finally:
            lag.stop()
        time.sleep(2.0)
        told = json.loads((fleet.folder / "load.log").read_text())
        return {"load": told, "used": used, "page": page, "lag": lag, **_stored(store)}


def _page(fleet: Fleet, chosen: argparse.Namespace) -> dict[str, Any]:
    """Look at the page while all devices report."""
    with Browser() as browser:
        browser.call("Page.addScriptToEvaluateOnNewDocument", source=PROBE)
        began = time.monotonic()
        browser.open(fleet.service.url)
        with_token(fleet.service.token)(browser)
        rows = f"document.querySelector('.grid')?.getAttribute('aria-rowcount') === '{chosen.devices + AGENTS + 1}'"
        browser.until(rows)
        shown_s = time.monotonic() - began
        browser.run("window.painted.length = 0")
        time.sleep(PAINT_S)
        painted = browser.run("window.painted")
        if chosen.picture is not None:
            small(browser.picture()).save(chosen.picture, optimize=True)
    if not painted:
        raise SystemExit("the page shows nothing new")
    return {
        "first_rows_s": shown_s,
        "rows_s": len(painted) / PAINT_S,
        "sent_to_paint_ms": statistics.median(paint - sent for _, sent, paint in painted),
    }


def _stored(store: Store) -> dict[str, Any]:
    """Count what the store has of simulated devices and of agents, and what is there twice or missing in between."""
    per_boot = (
        select(DEVICES.c.device, func.count().label("rows"), func.count(REPORTS.c.seq.distinct()).label("numbers"))
        .add_columns(func.max(REPORTS.c.seq).label("last"))
        .join(DEVICES, DEVICES.c.id == REPORTS.c.device_id)
        .group_by(DEVICES.c.device, REPORTS.c.boot_id)
    )
    with store.engine.connect() as connection:
        rows = connection.execute(per_boot).all()
    simulated = [row for row in rows if row.device.startswith("sim-")]
    agents = [row for row in rows if row.device.startswith("real-")]
    counters: dict[str, int] = {}
    for source, values in store.counters.by_source().items():
        if source.startswith("ingest"):
            for name, value in values.items():
                counters[name] = counters.get(name, 0) + value
    return {
        "simulated": sum(row.rows for row in simulated),
        "agents": sum(row.rows for row in agents),
        "twice": sum(row.rows - row.numbers for row in rows),
        "missing": sum(row.last - row.numbers for row in rows),
        "counters": counters,
    }


def wrong(found: dict[str, Any]) -> list[str]:
    """Say what is not as it must be."""
    load, lag, counters = found["load"], found["lag"], found["counters"]
    said = []
    if load["lost"] or load["waiting"] or load["acked"] != load["made"]:
        said.append(f"of {load['made']} reports {load['acked']} were acknowledged, {load['lost']} lost")
    if found["simulated"] != load["made"]:
        said.append(f"{load['made']} reports were made, {found['simulated']} are stored")
    if found["twice"] or found["missing"]:
        said.append(f"{found['twice']} reports are there twice, {found['missing']} are missing")
    if counters["stored"] != found["simulated"] + found["agents"] or counters.get("rejected"):
        said.append(f"the counters say {counters}")
    if max(lag.whole_s) >= LAG_LIMIT_S:
        said.append(f"the store was {max(lag.whole_s):.1f} s behind")
    return said


def rows(found: dict[str, Any]) -> list[tuple[str, str, str]]:
    """Return the table of what was measured."""
    load, lag, page = found["load"], found["lag"], found["page"]
    table = [
        ("reports made, stored, lost, twice", _counted(found), "0 lost, 0 twice"),
        ("of them of real agents", f"{found['agents']:,}", ""),
        ("reports a second", f"{load['made'] / load['seconds']:,.0f}", ""),
        ("lag, end of a report's window to readable: median, p99, most", _seconds(lag.whole_s), f"{LAG_LIMIT_S:g} s"),
        ("of it from the ingest's socket to readable", _seconds(lag.stored_s), ""),
    ]
    for kind, used in found["used"].items():
        table.append((f"{kind}: processor, memory", f"{used.cpu:.1%} of a core, {used.rss_bytes / 1e6:,.0f} MB", ""))
    if page:
        shown = f"{page['first_rows_s']:.1f} s, {page['rows_s']:,.0f} rows a second, {page['sent_to_paint_ms']:.0f} ms"
        table.append(("page: all rows there, painted while it lives, sent to painted", shown, "300 ms"))
    return table


def _counted(found: dict[str, Any]) -> str:
    made = found["load"]["made"] + found["agents"] + found["missing"]
    stored = found["simulated"] + found["agents"]
    return f"{made:,}, {stored:,}, {made - stored:,}, {found['twice']:,}"


def _seconds(values: list[float]) -> str:
    ordered = sorted(values)
    return f"{statistics.median(ordered):.2f}, {ordered[int(0.99 * (len(ordered) - 1))]:.2f}, {ordered[-1]:.2f} s"


def _text(chosen: argparse.Namespace) -> str:
    multiplex = f" --multiplex {chosen.multiplex}" if chosen.multiplex > 1 else ""
    shared = f"{chosen.multiplex} sharing a connection" if multiplex else "each on its own connection"
    command = f"--devices {chosen.devices}{multiplex} --for {chosen.seconds:g} --write"
    text = (
        f"{chosen.devices:,} simulated devices, {shared}, {AGENTS} real agents, the real service and broker for "
        f"{chosen.seconds:,.0f} s, all on this machine, and headless Chromium at the end.\n\n"
        f"`python -m tests.benchmarks.bench_fleet_scale {command}`"
    )
    picture = f"\n\n![the page while they report](../images/{chosen.picture.name})" if chosen.page else ""
    return text + picture


def main() -> int:
    """Run, print, and write the page and the picture if asked to."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--devices", type=int, default=1000)
    options.add_argument("--multiplex", type=int, default=1, help="so many devices share a connection")
    options.add_argument("--for", dest="seconds", type=float, default=600.0)
    options.add_argument("--write", action="store_true", help="put the figures into docs/benchmarks/fleet.md")
    options.add_argument("--picture", type=Path, help="a PNG of the page at the end, with --write among the docs")
    options.add_argument("serve", nargs="*", help="further options of `fleet serve`, after --")
    chosen = options.parse_args()
    chosen.page = CHROMIUM is not None
    if chosen.write and chosen.page:
        chosen.picture = IMAGES / f"fleet-of-{chosen.devices}.png"
    with (
        tempfile.TemporaryDirectory(prefix="edgekit-fleet-scale-") as folder,
        running(Path(folder), chosen.serve) as it,
    ):
        found = measure(it, chosen)
    table = rows(found)
    for what, value, aim in table:
        print(f"{what}: {value}" + (f" (aim {aim})" if aim else ""))
    for line in wrong(found):
        print(f"BAD: {line}")
    if chosen.write:
        write_page(PAGE, f"A fleet of {chosen.devices:,}", _text(chosen), table)
    return 1 if wrong(found) else 0


if __name__ == "__main__":
    sys.exit(main())
