"""The part of `fleet serve` that drives the rollouts, and publishes what devices are wanted to be."""

import asyncio
import time
from typing import TYPE_CHECKING

from edgekit.fleet import _clock
from edgekit.fleet.rollout.driver import Driver

if TYPE_CHECKING:
    from edgekit.fleet.service.service import Service

TURN_S = 0.5


class RolloutsPart:
    """Runs the driver, a turn at a time, in a thread: the database may take its time."""

    def __init__(self, service: "Service") -> None:
        """Drive those of the service's store through its connection to the broker."""
        self._link = service.link
        self._driver = Driver(service.store, service.link)
        self._known = self._connection()

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            began = time.monotonic()
            now = self._connection()
            if now is not None and now != self._known:
                self._known = now
                self._driver.connected()
            await asyncio.to_thread(self._driver.tick, _clock.now_ms())
            await asyncio.sleep(max(0.05, TURN_S - (time.monotonic() - began)))

    def _connection(self) -> int | None:
        """Say which connection to the broker stands, None for none.

        With another one everything is published again: the broker may have lost what was retained.
        """
        return self._link.birth if self._link.connected else None
