"""The part of `fleet serve` that drives the rollouts."""

import asyncio
import time
from typing import TYPE_CHECKING

from edgekit.fleet.rollout.driver import Driver, Publisher

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

TURN_S = 0.5


class RolloutsPart:
    """Runs the driver, a turn at a time, in a thread: the database may take its time."""

    def __init__(self, store: "Store", publisher: Publisher) -> None:
        """Take the store and the service's connection to the broker."""
        self._driver = Driver(store, publisher)

    def connected(self) -> None:
        """The broker is there (again)."""
        self._driver.connected()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            began = time.monotonic()
            await asyncio.to_thread(self._driver.tick, time.time_ns() // 1_000_000)
            await asyncio.sleep(max(0.05, TURN_S - (time.monotonic() - began)))
