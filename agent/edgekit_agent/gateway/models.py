"""The models behind the gateway: each has clients that wait for their next request."""

import contextlib
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from edgekit_agent.client import Client
from edgekit_agent.client.errors import ModelGone
from edgekit_agent.client.link import Link
from edgekit_agent.gateway.errors import HttpError
from edgekit_agent.rundir import CONTROL
from edgekit_agent.serve.doors import models_in, path_of
from edgekit_agent.serve.wire import Hello

KEPT = 8
READY_S = 1.0
LONGEST = 250  # bytes: with its suffix a file's name


class Models:
    """Clients of the models in a folder; a client is used by one request at a time."""

    def __init__(self, folder: Path) -> None:
        """Take the folder of the sockets."""
        self._folder = folder
        self._idle: dict[str, list[Client]] = {}
        self._lock = threading.Lock()

    def names(self) -> list[str]:
        """Return the models' names."""
        return models_in(self._folder)

    def hello(self, name: str, wait_s: float = READY_S) -> Hello:
        """Ask a model's worker what it serves.

        Raises:
            HttpError: 404, if there is no such model.
            ModelGone: if no worker answers.
        """
        link = Link.open(name, self._known(name), time.monotonic() + wait_s)
        link.close()
        return link.hello

    @contextlib.contextmanager
    def client(self, name: str, wait_s: float) -> Iterator[Client]:
        """Lend a client of a model; after an error nobody else gets it, and the worker forgets what it had asked.

        Raises:
            HttpError: 404, if there is no such model.
            ModelGone: if no worker answers.
        """
        path = self._known(name)
        with self._lock:
            idle = self._idle.setdefault(name, [])
            client = idle.pop() if idle else None
        if client is None:
            client = Client(name, folder=path.parent, patience_s=wait_s)
        client.patience_s = wait_s
        try:
            yield client
        except BaseException:
            client.close()
            raise
        with self._lock:
            keep = len(idle) < KEPT
            if keep:
                idle.append(client)
        if not keep:
            client.close()

    def ready(self, name: str) -> bool:
        """Say whether a model's worker answers."""
        try:
            self.hello(name)
        except ModelGone:
            return False
        return True

    def close(self) -> None:
        """Close the clients that wait."""
        with self._lock:
            for client in (one for idle in self._idle.values() for one in idle):
                client.close()
            self._idle.clear()

    def _known(self, name: str) -> Path:
        path = path_of(self._folder, name)
        named = "/" not in name and "\0" not in name and len(name.encode()) < LONGEST and path.name != CONTROL
        if named and path.exists():
            return path
        raise HttpError(404, f"there is no model '{name[:80]}'")
