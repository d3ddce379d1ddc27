"""The part of `fleet serve` that drives the rollouts, and publishes what devices are wanted to be."""

import asyncio
import time
from typing import TYPE_CHECKING

from edgekit.fleet.rollout.driver import Driver

if TYPE_CHECKING:
    from edgekit.fleet.service.service import Service

TURN_S = 0.5


class RolloutsPart:
    """Runs the driver, a turn at a time, in a thread: the database may take its time."""

    def __init__(self, service: "Service") -> None:
        """Use the service's store and its connection to the broker."""
        self._service = service
        self._driver = Driver(service.store, service.link)
        self._birth = 0

    async def run(self) -> None:
        """Run until cancelled."""
        link, health = self._service.link, self._service.health
        while True:
            began = time.monotonic()
            if link.connected and link.birth != self._birth:  # another connection: perhaps another, empty, broker
                self._birth = link.birth
                self._driver.connected()
            await asyncio.to_thread(self._driver.tick, time.time_ns() // 1_000_000)
            health.says("rollouts", None)
            await asyncio.sleep(max(0.05, TURN_S - (time.monotonic() - began)))
