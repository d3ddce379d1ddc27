"""The sockets that applications knock at: where they stand, and the supervisor's side. Standard library only."""

import contextlib
import os
import socket
from pathlib import Path

from edgekit_agent import rundir
from edgekit_agent.config import ModelConfig
from edgekit_agent.errors import ConfigError
from edgekit_agent.sources.settings import REQUESTS

SUFFIX = ".sock"
MODE = 0o660
BACKLOG = 128


def path_of(folder: Path, model: str) -> Path:
    """Return the path of a model's socket."""
    return folder / f"{model}{SUFFIX}"


def models_in(folder: Path) -> list[str]:
    """Return the names of the models that applications can ask."""
    with contextlib.suppress(OSError):
        names = (path.name for path in folder.iterdir() if path.suffix == SUFFIX and path.name != rundir.CONTROL)
        return sorted(name.removesuffix(SUFFIX) for name in names)
    return []


def folder_of(model: str) -> Path:
    """Return the folder with a model's socket, for an application that is told nothing.

    That is $EDGEKIT_RUN_DIR where it is set, or the first of the agent's usual ones that has it.
    """
    given = os.environ.get("EDGEKIT_RUN_DIR")
    folders = [Path(given)] if given else list(rundir.known_folders())
    return next((folder for folder in folders if path_of(folder, model).exists()), folders[0])


class Doors:
    """The listening sockets of an agent's models: they outlive the workers, so that no connection is refused."""

    def __init__(self, folder: Path) -> None:
        """Take the folder; nothing is made yet."""
        self._folder = folder
        self._open: dict[str, socket.socket] = {}

    def of(self, model: ModelConfig) -> int | None:
        """Return the descriptor of a model's socket, which is made if need be; None where applications cannot ask it.

        Raises:
            ConfigError: if it cannot be made.
        """
        if model.source.kind != REQUESTS:
            return None
        if model.name not in self._open:
            path = path_of(self._folder, model.name)
            if path.name == rundir.CONTROL:
                raise ConfigError(f"a model that applications ask cannot be named '{model.name}'")
            try:
                self._folder.mkdir(parents=True, exist_ok=True)
                self._open[model.name] = rundir.listen(path, MODE, BACKLOG, socket.SOCK_SEQPACKET)
            except OSError as exc:
                raise ConfigError(f"socket '{path}' cannot be made: {exc.strerror}") from exc
        return self._open[model.name].fileno()

    def close(self) -> None:
        """Take the sockets away."""
        for name, listener in self._open.items():
            with contextlib.suppress(OSError):
                path_of(self._folder, name).unlink()
            listener.close()
        self._open.clear()
