"""The part of the service that keeps the totals, which `/metrics` and OTLP tell, up to date."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

EVERY_S = 5.0


class TotalsPart:
    """Adds reports to the totals every few seconds."""

    def __init__(self, store: "Store", *, by_device: bool = False, limit: int | None = None) -> None:
        """Work on the store.

        Args:
            store: where reports and totals are.
            by_device: tell devices apart: a label more, and as many groups as devices serve models.
            limit: how many groups there may be. Default: 1,000, with devices 20,000.
        """
        self._store, self._by_device, self._limit = store, by_device, limit

    async def run(self) -> None:
        """Work until cancelled; the database's errors end it."""
        while True:
            await asyncio.to_thread(self._store.totals.roll_all, by_device=self._by_device, limit=self._limit)
            await asyncio.sleep(EVERY_S)
