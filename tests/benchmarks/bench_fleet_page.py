"""From a report's commit to its figures on the screen of headless Chromium.

`python -m tests.benchmarks.bench_fleet_page`
1,000 devices report every ten seconds into a real store while the page shows them; then 10,000 rows are scrolled and
sorted. Prints what it measures; the clock is one, since all runs on this machine.
"""

import argparse
import json
import random
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from edgekit.fleet.store import Store, open_store
from edgekit.fleet.web import Assets
from tests.sdk.fleet.web import made_fleet
from tests.sdk.fleet.web.browser import CHROMIUM, MISSING, Browser, with_token
from tests.sdk.fleet.web.conftest import TOKEN, Served

# Notes when a message of the live stream came, and when the frame after it was painted.
PROBE = """
(() => {
  const Source = EventSource;
  window.painted = [];
  window.EventSource = class extends Source {
    addEventListener(name, handler) {
      super.addEventListener(name, name !== "rows" ? handler : (event) => {
        handler(event);
        const at = JSON.parse(event.data);
        requestAnimationFrame(() => requestAnimationFrame(() => {
          const now = Date.now();
          for (const row of at.rows) window.painted.push([row[8], at.now_ms, now]);
        }));
      });
    }
  };
})();
"""
REPORTS_A_BATCH = 20
EVERY_S = 10.0
WARM_UP_S = 8.0


def report_into(url: str, devices: int, seconds: float) -> None:
    """Let devices report one after another, evenly, every ten seconds: a process of its own, as the ingest is."""
    fleet, rng = made_fleet.devices(devices), random.Random(1)  # noqa: S311 - made-up figures
    models = [made_fleet.report(made, 1, 0, rng, samples=30).report for made in fleet[:40]]
    pause_s = EVERY_S * REPORTS_A_BATCH / devices
    with open_store(url) as store:
        begin = time.monotonic()
        for turn in range(int(seconds / pause_s)):
            time.sleep(max(0.0, begin + turn * pause_s - time.monotonic()))
            now_ms = int(time.time() * 1000)
            some = [fleet[(turn * REPORTS_A_BATCH + at) % devices] for at in range(REPORTS_A_BATCH)]
            store.reports.add([made_fleet.again(made, models[made.number % 40], 10 + turn, now_ms) for made in some])


def measure(store: Store, devices: int, seconds: float) -> dict[str, Any]:
    """Return times from commit to paint, and of the work with the table."""
    fleet = made_fleet.devices(devices)
    now_ms = int(time.time() * 1000)
    rng = random.Random(2)  # noqa: S311
    like = [made_fleet.report(made, 1, now_ms, rng, samples=30).report for made in fleet[:40]]
    store.reports.add([made_fleet.again(made, like[made.number % 40], 1, now_ms) for made in fleet])
    served = Served(store)
    try:
        with Browser() as browser:
            browser.call("Page.addScriptToEvaluateOnNewDocument", source=PROBE)
            began = time.monotonic()
            browser.open(served.url)
            with_token(TOKEN)(browser)
            browser.until(f"document.querySelector('.grid')?.getAttribute('aria-rowcount') === '{devices + 1}'")
            shown_s = time.monotonic() - began
            painted = _painted(browser, store, fleet, seconds)
            return {"devices": devices, "first_rows_s": shown_s, **painted, **_handled(browser)}
    finally:
        served.close()


def _painted(browser: Browser, store: Store, fleet: list[made_fleet.Made], seconds: float) -> dict[str, Any]:
    if not seconds:
        return {}
    url = f"sqlite:///{store.engine.url.database}"
    options = ["--into", url, "--devices", str(len(fleet)), "--seconds", str(seconds + WARM_UP_S + 2)]
    with subprocess.Popen([sys.executable, "-m", "tests.benchmarks.bench_fleet_page", *options]) as reporting:
        time.sleep(WARM_UP_S)
        browser.run("window.painted.length = 0")
        time.sleep(seconds)
        seen = browser.run("window.painted")
        reporting.wait()
    whole = sorted(paint - commit for commit, _, paint in seen)
    page = sorted(paint - sent for _, sent, paint in seen)
    return {
        "rows_painted": len(whole),
        "rows_s": len(whole) / seconds,
        "commit_to_paint_ms": _quantiles(whole),
        "sent_to_paint_ms": _quantiles(page),
    }


def _handled(browser: Browser) -> dict[str, Any]:
    """Return how long it takes to sort, and how even frames are while scrolling."""
    sort_ms = browser.run(
        "(async () => { const button = document.querySelectorAll('.grid-head button')[7]; const at = performance.now();"
        "button.click(); await new Promise(requestAnimationFrame); await new Promise(requestAnimationFrame);"
        "return performance.now() - at; })()"
    )
    frames = browser.run(
        "(async () => { const grid = document.querySelector('.grid'); const times = []; let last = performance.now();"
        "for (let turn = 0; turn < 120; turn++) { grid.scrollTop += 900; await new Promise(requestAnimationFrame);"
        "const now = performance.now(); times.push(now - last); last = now; } return times; })()"
    )
    return {"sort_ms": sort_ms, "scroll_frame_ms": _quantiles(sorted(frames))}


def _quantiles(values: list[float]) -> dict[str, float]:
    if not values:
        return {}
    return {
        "median": round(statistics.median(values), 1),
        "p95": round(values[int(0.95 * (len(values) - 1))], 1),
        "max": round(values[-1], 1),
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__)
    options.add_argument("--seconds", type=float, default=30.0)
    options.add_argument("--into", metavar="URL", help="only report into that store")
    options.add_argument("--devices", type=int, default=1000)
    chosen = options.parse_args()
    if chosen.into:
        report_into(chosen.into, chosen.devices, chosen.seconds)
        return
    if CHROMIUM is None:
        print(f"skipped: {MISSING}")
        return
    sizes = {name: len(asset.data) for name, asset in Assets().files.items()}
    packed = sum(len(asset.packed) for asset in Assets().files.values())
    print(json.dumps({"assets": len(sizes), "assets_bytes": sum(sizes.values()), "assets_gzip_bytes": packed}))
    for devices, seconds in ((1000, chosen.seconds), (10_000, 0.0)):
        with tempfile.TemporaryDirectory() as folder, open_store(f"sqlite:///{Path(folder) / 'fleet.db'}") as store:
            print(json.dumps(measure(store, devices, seconds)), flush=True)


if __name__ == "__main__":
    main()
