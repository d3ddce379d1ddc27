"""The parts of the service, in the order they start; they end in the opposite order.

A part is `module:attribute`, called with the `Service`; what it gives has `async def run(self) -> None`, which ends
only when it is cancelled. A part that fails is started again. Blocking work goes through `asyncio.to_thread`.
"""

from typing import Protocol

PARTS: tuple[tuple[str, str], ...] = (
    ("devices", "edgekit.fleet.service.devices:DevicesPart"),
    ("presence", "edgekit.fleet.presence.part:PresencePart"),
    ("answers", "edgekit.fleet.answers:AnswersPart"),
    ("rollouts", "edgekit.fleet.rollout.part:RolloutsPart"),
    ("upkeep", "edgekit.fleet.service.upkeep:UpkeepPart"),
    ("totals", "edgekit.fleet.export.part:TotalsPart"),
    ("ingest", "edgekit.fleet.service.children:IngestPart"),
    ("alerts", "edgekit.fleet.alerts.part:for_service"),
    ("web", "edgekit.fleet.api.part:WebPart"),
)


class Part(Protocol):
    """Something that runs as long as the service."""

    async def run(self) -> None:
        """Run until it is cancelled."""
        ...
