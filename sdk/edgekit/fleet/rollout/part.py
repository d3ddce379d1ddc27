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
        self._session: int | None = None

    async def run(self) -> None:
        """Run until cancelled."""
        while True:
            began = time.monotonic()
            self._look(_clock.now_ms())
            await asyncio.to_thread(self._driver.tick, _clock.now_ms())
            await asyncio.sleep(max(0.05, TURN_S - (time.monotonic() - began)))

    def _look(self, now_ms: int) -> None:
        """Tell the driver of another connection to the broker, or of none."""
        session = self._link.session if self._link.connected else None
        if session == self._session:
            return
        self._session = session
        if session is None:
            self._driver.disconnected()
        else:
            self._driver.connected(now_ms)
