"""Roll-ups while no ingest makes them, and retention."""

import asyncio
import time

from edgekit.fleet import _clock
from edgekit.fleet.service.service import Service

EVERY_S = 20.0
RETENTION_S = 600.0
OLD_MS = 120_000


class UpkeepPart:
    """Looks after the store."""

    def __init__(self, service: Service) -> None:
        """Use the service's store."""
        self._service = service

    async def run(self) -> None:
        """Go on as long as the service runs."""
        removed_s = float("-inf")
        while True:
            await asyncio.to_thread(self._roll)
            if time.monotonic() - removed_s > RETENTION_S:
                removed_s = time.monotonic()
                await asyncio.to_thread(self._remove)
            self._service.health.says("upkeep", None)
            await asyncio.sleep(EVERY_S)

    def _roll(self) -> None:
        rollups = self._service.store.rollups
        waiting, since_ms = rollups.waiting()
        while waiting > 0 and since_ms < time.time() * 1000 - OLD_MS and rollups.roll():
            waiting, since_ms = rollups.waiting()

    def _remove(self) -> None:
        self._service.store.retention.apply(self._service.settings.keep, _clock.now_ms())
