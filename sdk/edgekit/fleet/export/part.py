"""The part of the service that keeps the totals, which `/metrics` and OTLP tell, up to date."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from edgekit.fleet.service.service import Service

EVERY_S = 5.0


class TotalsPart:
    """Adds reports to the totals every few seconds."""

    def __init__(self, service: "Service") -> None:
        """Use the service's store; its settings say whether devices are told apart."""
        self._service = service

    async def run(self) -> None:
        """Go on as long as the service runs."""
        by_device = self._service.settings.metrics_devices
        while True:
            while await asyncio.to_thread(self._service.store.totals.roll, by_device=by_device):
                pass
            self._service.health.says("totals", None)
            await asyncio.sleep(EVERY_S)
