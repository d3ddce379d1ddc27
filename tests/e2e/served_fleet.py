"""The fleet's service with its API in this process: real parts, a real store and a real broker."""

import asyncio
import threading
from pathlib import Path

from edgekit.fleet._url import parse
from edgekit.fleet.api import ApiSettings, create_app
from edgekit.fleet.api.server import WebServer
from edgekit.fleet.rollout.part import RolloutsPart
from edgekit.fleet.service.parts import PARTS
from edgekit.fleet.service.service import Service
from edgekit.fleet.service.settings import ServeSettings
from edgekit.fleet.store import open_store

TOKEN = "local-token-of-the-tests-0123456789"  # noqa: S105  # no secret


class ServedFleet:
    """What `edgekit fleet serve` runs, on a free port."""

    def __init__(self, folder: Path, broker: str) -> None:
        """Serve until `stop`."""
        url = f"sqlite:///{folder / 'fleet.db'}"
        self.store = open_store(url)
        settings = ServeSettings(store=url, broker=parse(broker), data=folder, listen_port=0)
        self._service = Service(settings, self.store)
        # publishes desired states; where the table of parts has it, twice would be wrong
        self._rollouts = None if "rollouts" in dict(PARTS) else RolloutsPart(self.store, self._service.link)
        api = ApiSettings(port=0)
        self._server = WebServer(create_app(self.store, settings=api, token=TOKEN, link=self._service.link), api)
        self.url = self._server.url
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._thread.start()
        assert self._ready.wait(60)

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        tasks = [asyncio.create_task(self._server.run())]
        if self._rollouts is not None:
            tasks.append(asyncio.create_task(self._rollouts.run()))
        await self._service.run(self._stop, self._ready.set)
        self._server.stop()
        for task in tasks[1:]:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self.store.close()

    def presence(self) -> dict[str, tuple[str, str]]:
        """Return state and reason of every device."""
        return {row.device: (row.presence, row.presence_reason) for row in self.store.devices.all()}
