"""Write docs/images/fleet-*.png: the fleet's page as headless Chromium shows it, with a made-up fleet.

`python -m docs.make_screenshots [FOLDER]`
"""

import io
import random
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from edgekit.fleet.store import Store, open_store
from tests.sdk.fleet.web import made_fleet
from tests.sdk.fleet.web.browser import CHROMIUM, MISSING, Browser, with_token
from tests.sdk.fleet.web.conftest import TOKEN, Served

READY = (
    "document.querySelectorAll('.chart canvas').length >= {charts}"
    " && document.querySelectorAll('main tbody tr').length > 2"
)
# name, address, theme, width, height, what is waited for
SHOTS = (
    ("fleet-light", "#/fleet", "light", 1360, 620, "document.querySelectorAll('.grid-rows .grid-row').length > 10"),
    ("fleet-dark", "#/fleet", "dark", 1360, 620, "document.querySelectorAll('.grid-rows .grid-row').length > 10"),
    ("device-dark", "#/device/aachen/cam-00000?range=6h", "dark", 1100, 1000, READY.format(charts=6)),
    ("model-light", "#/models/kws", "light", 1100, 1000, READY.format(charts=2)),
    ("fleet-narrow", "#/fleet", "light", 390, 620, "document.querySelectorAll('.grid-rows .grid-row').length > 5"),
)
DEVICES = 240


def fill(store: Store) -> None:
    """Make up a fleet that has run for some hours."""
    now_ms = int(time.time() * 1000)
    fleet = made_fleet.devices(DEVICES)
    made_fleet.introduce(store, fleet, now_ms)
    made_fleet.history(store, fleet[:1], range(now_ms - 6 * 3_600_000, now_ms - 3_600_000, 60_000), samples=120)
    made_fleet.history(store, fleet[:40], range(now_ms - 3_600_000, now_ms - 60_000, 60_000), samples=60)
    rng = random.Random(11)  # noqa: S311 - made-up figures
    store.reports.add([made_fleet.report(made, 10_000, now_ms, rng) for made in fleet])
    troubles = [("offline", "connection-lost"), ("stale", "silent"), ("stopped", "clean-stop")]
    for at, (presence, reason) in enumerate(troubles):
        store.devices.put_presence(fleet[3 + 4 * at].key, presence, reason, now_ms - 400_000 * (at + 1))
    made_fleet.happen(store, fleet[0], now_ms - 900_000, "clock-jumped", "the clock jumped by 3.2 s")
    made_fleet.happen(store, fleet[0], now_ms - 60_000, "worker-died", "died with signal 11, started again")


def small(png: bytes) -> Image.Image:
    """Return the picture with as few colours as a page has, rare ones too: a third of the size."""
    return (
        Image.open(io.BytesIO(png)).convert("RGB").quantize(160, Image.Quantize.MAXCOVERAGE, dither=Image.Dither.NONE)
    )


def main() -> None:
    """Write the pictures."""
    if CHROMIUM is None:
        print(MISSING)
        sys.exit(4)
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "images"
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch, open_store(f"sqlite:///{scratch}/fleet.db") as store:
        made_fleet.unhurried(store)
        fill(store)
        served = Served(store)
        try:
            with Browser() as browser:
                browser.open(served.url)
                with_token(TOKEN)(browser)
                for name, address, theme, width, height, ready in SHOTS:
                    browser.theme(theme)
                    browser.size(width, height)
                    browser.run(f"location.hash = {address!r}")
                    browser.until(ready)
                    time.sleep(1.0)
                    small(browser.picture()).save(folder / f"{name}.png", optimize=True)
                    print(folder / f"{name}.png")
        finally:
            served.close()


if __name__ == "__main__":
    main()
