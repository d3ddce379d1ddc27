"""The part of `fleet serve` that drives the rollouts, and publishes what devices are wanted to be."""

import asyncio
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

from edgekit.fleet.rollout.driver import Driver, Publisher

if TYPE_CHECKING:
    from edgekit.fleet.service.service import Service
    from edgekit.fleet.store import Store

TURN_S = 0.5


class RolloutsPart:
    """Runs the driver, a turn at a time, in a thread: the database may take its time."""

    def __init__(self, store: "Store", publisher: Publisher, connection: Callable[[], int | None] = lambda: 0) -> None:
        """Take the store and the service's connection to the broker.

        Args:
            store: of the fleet.
            publisher: the way to the devices.
            connection: says which connection to the broker stands, None for none; with another one everything is
                published again, because the broker may have lost what was retained.
        """
        self._driver, self._connection = Driver(store, publisher), connection
        self._known = connection()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            began = time.monotonic()
            now = self._connection()
            if now is not None and now != self._known:
                self._known = now
                self._driver.connected()
            await asyncio.to_thread(self._driver.tick, time.time_ns() // 1_000_000)
            await asyncio.sleep(max(0.05, TURN_S - (time.monotonic() - began)))


def for_service(service: "Service") -> RolloutsPart:
    """Return the part of a service."""
    link = service.link
    return RolloutsPart(service.store, link, lambda: link.birth if link.connected else None)
