"""`python -m edgekit.fleet.ingest`: one ingest process; its settings are a JSON line on stdin, and it ends with it.

It prints a JSON line whenever it is connected or has trouble.
"""

import gc
import json
import logging
import os
import signal
import sys
import threading
from pathlib import Path
from typing import Any

from edgekit.errors import EdgeKitError
from edgekit.fleet._url import BrokerUrl
from edgekit.fleet.allowance import Limits
from edgekit.fleet.ingest.ingest import Ingest, Told
from edgekit.fleet.ingest.links import Subscription, open_link
from edgekit.fleet.store import open_store
from edgekit_agent.protocol import Kind, subscription

GROUP = "ek"


def main() -> int:
    """Run until SIGTERM or the end of stdin; return the exit code."""
    logging.basicConfig(level=logging.INFO, format="%(message)s", stream=sys.stderr)
    settings = json.loads(sys.stdin.readline())
    # what is made here lives for a batch: looking for cycles in it took a third of the time
    gc.freeze()
    gc.set_threshold(100_000, 50, 50)
    try:
        store = open_store(settings["store"])
    except EdgeKitError as exc:
        _print(Told(trouble=str(exc)))
        return 4
    with store:
        url, wanted = _broker(settings["broker"]), _wanted(settings)
        limits = Limits(rate=settings.get("rate", 0.0), burst=settings.get("burst", 0.0))
        ingest = Ingest(store, lambda: open_link(url, wanted, settings["client"]), settings["source"], _print, limits)
        signal.signal(signal.SIGTERM, lambda *_: ingest.stop())
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the service, which ends us
        threading.Thread(target=_until_alone, args=(ingest,), daemon=True).start()
        ingest.run()
    return 0


def _broker(values: dict[str, Any]) -> BrokerUrl:
    paths = {name: Path(values[name]) if values[name] else None for name in ("ca", "cert", "key")}
    return BrokerUrl(**{**values, **paths})


def _wanted(settings: dict[str, Any]) -> Subscription:
    topic = subscription(Kind.TELE)
    shared = f"$share/{GROUP}/{topic}" if settings["shared"] else topic
    return Subscription(client_id=settings["client_id"], topic=shared)


def _until_alone(ingest: Ingest) -> None:
    """End when the service is gone, however it ended: it holds the other end of stdin."""
    while os.read(0, 1024):
        pass
    ingest.stop()


def _print(told: Told) -> None:
    print(json.dumps({"connected": told.connected, "trouble": told.trouble}), flush=True)  # noqa: T201  # the parent reads it


if __name__ == "__main__":
    sys.exit(main())
