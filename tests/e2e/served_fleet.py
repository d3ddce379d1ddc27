"""The fleet's service with its page and API in this process: real parts, a real store and a real broker."""

import asyncio
import threading
from pathlib import Path

from edgekit.fleet._url import parse
from edgekit.fleet.service.service import Service
from edgekit.fleet.service.settings import ServeSettings
from edgekit.fleet.store import open_store


class ServedFleet:
    """What `edgekit fleet serve` runs, on a free port; `token` is that of its folder."""

    def __init__(self, folder: Path, broker: str) -> None:
        """Serve until `stop`."""
        url = f"sqlite:///{folder / 'fleet.db'}"
        self.store = open_store(url)
        settings = ServeSettings(store=url, broker=parse(broker), data=folder, listen_port=0)
        self._service = Service(settings, self.store)
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()))
        self._thread.start()
        assert self._ready.wait(60)
        assert self._service.page_url is not None
        self.url = self._service.page_url
        self.token = (folder / "token").read_text().strip()

    async def _live(self) -> None:
        self._loop, self._stop = asyncio.get_running_loop(), asyncio.Event()
        await self._service.run(self._stop, self._ready.set)

    def stop(self) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(60)
        self.store.close()

    def presence(self) -> dict[str, tuple[str, str]]:
        """Return state and reason of every device."""
        return {row.device: (row.presence, row.presence_reason) for row in self.store.devices.all()}
