"""The ingest processes: started, watched, started again."""

import asyncio
import contextlib
import json
import logging
import sys
from dataclasses import asdict

from edgekit.fleet.service.identity import host_id
from edgekit.fleet.service.service import BACK_OFF_S, LASTING_S, Service

_log = logging.getLogger(__name__)

STOP_S = 10.0


class IngestPart:
    """Keeps so many ingest processes running as the settings say."""

    def __init__(self, service: Service) -> None:
        """Use the service's settings."""
        self._service = service
        self._id = host_id(service.settings.data)
        self._connected: set[int] = set()

    async def run(self) -> None:
        """Go on as long as the service runs."""
        children = [asyncio.create_task(self._keep(number)) for number in range(self._service.settings.ingest)]
        try:
            await asyncio.gather(*children)
        finally:
            for child in children:
                child.cancel()
            await asyncio.gather(*children, return_exceptions=True)

    async def _keep(self, number: int) -> None:
        loop, tries, name = asyncio.get_running_loop(), 0, f"ingest-{number}"
        health = self._service.health
        while True:
            began = loop.time()
            code = await self._live(number, name)
            tries = 0 if loop.time() - began > LASTING_S else tries + 1
            health.part(name).restarts += 1
            health.says(name, f"{health.part(name).trouble or 'ended'} (exit code {code}); starts again")
            self._now(number, connected=False)
            await asyncio.sleep(BACK_OFF_S[min(tries - 1, len(BACK_OFF_S) - 1)] if tries else 0.0)

    async def _live(self, number: int, name: str) -> int:
        """Run one process until it ends; return its exit code."""
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "edgekit.fleet.ingest", stdin=pipe, stdout=pipe
        )
        assert process.stdin is not None  # noqa: S101  # both are pipes
        assert process.stdout is not None  # noqa: S101
        try:
            process.stdin.write(self._settings(number, name))
            await process.stdin.drain()
            async for line in process.stdout:
                with contextlib.suppress(ValueError, AttributeError):
                    told = json.loads(line)
                    self._service.health.says(name, told.get("trouble"))
                    self._now(number, connected=told.get("connected") is True)
            return await process.wait()
        except (ConnectionError, BrokenPipeError):
            return await process.wait()
        finally:
            await _ended(process)

    def _now(self, number: int, *, connected: bool) -> None:
        """Tell devices when reports are stored, and again when what a process had read may be lost with it."""
        known = number in self._connected
        if connected == known:
            return
        if connected:
            self._connected.add(number)
            self._service.link.storing(able=True)
            return
        self._connected.discard(number)
        if not self._connected:
            self._service.link.storing(able=False)

    def _settings(self, number: int, name: str) -> bytes:
        settings = self._service.settings
        document = {
            "store": settings.store,
            "broker": asdict(settings.broker),
            "source": name,
            "client_id": f"ek-ingest-{self._id}-{number}",
            "shared": settings.ingest > 1,
            "client": settings.client,
            # each sees its part of a device's reports
            "rate": settings.device_rate / settings.ingest,
            "burst": settings.device_burst,
        }
        return json.dumps(document, default=str).encode() + b"\n"


async def _ended(process: asyncio.subprocess.Process) -> None:
    """End a process, politely first: it stores what it has read."""
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        await asyncio.wait_for(process.wait(), STOP_S)
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()
