"""The part of the service that takes the answers of devices to commands."""

import asyncio
import logging
from collections.abc import Sequence

from edgekit.fleet import _clock
from edgekit.fleet.presence.part import Came, Host
from edgekit.fleet.store import DeviceKey
from edgekit.fleet.wire import Result, decode
from edgekit_agent.errors import ProtocolError
from edgekit_agent.protocol import Kind

_log = logging.getLogger(__name__)


class AnswersPart:
    """Keeps answers with the commands they belong to."""

    def __init__(self, service: Host) -> None:
        """Listen."""
        self._store = service.store
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
                await asyncio.to_thread(self._store.commands.answered, message.topic.command, key, result, now_ms)
