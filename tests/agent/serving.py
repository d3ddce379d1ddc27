"""Real workers that serve applications, without the rest of the agent."""

import os
import select
import signal
import socket
import time
from pathlib import Path
from typing import Any

from edgekit_agent.actions import WorkerId
from edgekit_agent.config import ModelConfig, ServeConfig
from edgekit_agent.orders import orders_of
from edgekit_agent.process import WorkerProcess
from edgekit_agent.serve.doors import Doors
from edgekit_agent.sources.settings import REQUESTS, SourceConfig

PATIENCE_S = 60.0


class Served:
    """A model with its listening socket and as many workers as are started."""

    def __init__(self, folder: Path, model: Path, limits: ServeConfig | None = None, name: str = "m") -> None:
        """Listen; nobody answers yet."""
        self.folder, self.name = folder, name
        self.config = ModelConfig(
            name=name, path=str(model), source=SourceConfig(kind=REQUESTS), serve=limits or ServeConfig()
        )
        self.doors = Doors(folder)
        self.doors.of(self.config)
        self.workers: list[WorkerProcess] = []
        self.said: list[dict[str, Any]] = []

    def start(self, *, model: Path | None = None) -> WorkerProcess:
        """Start a worker, of another file where one is given, and wait until it serves."""
        config = self.config if model is None else ModelConfig(**{**_values(self.config), "path": str(model)})
        worker = WorkerProcess(
            WorkerId(self.name, len(self.workers)), orders_of(config), listener=self.doors.of(config)
        )
        self.workers.append(worker)
        self.wait(worker, "ready")
        return worker

    def wait(self, worker: WorkerProcess, kind: str) -> dict[str, Any]:
        """Wait until a worker says something of a kind."""
        end = time.monotonic() + PATIENCE_S
        while time.monotonic() < end:
            select.select([worker.control], [], [], 1)
            messages, ended = worker.messages()
            self.said += messages
            for message in messages:
                if message["type"] == kind:
                    return message
            assert not ended, (worker.reap(), self.said)
        raise AssertionError(f"no '{kind}': {self.said}")

    def kill(self, worker: WorkerProcess) -> None:
        """End a worker as a crash does."""
        os.kill(worker.process.pid, signal.SIGKILL)
        worker.process.wait()

    def measured(self, worker: WorkerProcess) -> list[dict[str, Any]]:
        """Stop a worker, and return all that it has measured."""
        self.said += worker.stop()
        self.workers.remove(worker)
        return [message for message in self.said if message["type"] == "measured"]

    def close(self) -> None:
        """End the workers."""
        for worker in self.workers:
            worker.process.kill()
            worker.process.wait()
            worker.close()
        self.doors.close()


def _values(config: ModelConfig) -> dict[str, Any]:
    return {name: getattr(config, name) for name in ModelConfig.__dataclass_fields__}


def raw(served: Served) -> socket.socket:
    """Return a bare connection to a model's socket."""
    end = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    end.settimeout(PATIENCE_S)
    end.connect(str(served.folder / f"{served.name}.sock"))
    return end
