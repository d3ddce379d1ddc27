"""The part of the service that takes the answers of devices to commands."""

import asyncio
import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING

from edgekit.fleet import _clock
from edgekit.fleet.presence.part import Came
from edgekit.fleet.store import DeviceKey
from edgekit.fleet.wire import Result, decode
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import Kind

if TYPE_CHECKING:
    from edgekit.fleet.service.service import Service

_log = logging.getLogger(__name__)


class AnswersPart:
    """Keeps answers with the commands they belong to."""

    def __init__(self, service: "Service") -> None:
        """Listen."""
        self._service = service
        service.listen((Kind.RESULT,), self._results)

    async def run(self) -> None:
        """Go on until it is cancelled; the work is done as answers come."""
        await asyncio.Event().wait()

    async def _results(self, messages: Sequence[Came]) -> None:
        for message in messages:
            try:
                result = decode(Kind.RESULT, message.payload)
            except ProtocolError as exc:
                _log.info("an answer of '%s' is not understood: %s", message.topic.device, exc)
                continue
            if isinstance(result, Result) and message.topic.command:
                key, now_ms = DeviceKey(message.topic.site, message.topic.device), _clock.now_ms()
                answered = self._service.store.commands.answered
                await self._service.stored(answered, message.topic.command, key, result, now_ms)
