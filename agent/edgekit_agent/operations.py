"""What an operator asks of a running agent: how it stands, its log, a benchmark, another configuration."""

import contextlib
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from edgekit_agent import __version__
from edgekit_agent.actions import Now, WorkerId
from edgekit_agent.benchmark import Benchmark
from edgekit_agent.commands import Answer, CommandError, Commands, Job, check_names
from edgekit_agent.config import AgentConfig
from edgekit_agent.control import ControlServer
from edgekit_agent.core import Core
from edgekit_agent.durable import StateFile
from edgekit_agent.gauges import Gauges
from edgekit_agent.logline import logline
from edgekit_agent.logtail import LogTail, log_tail
from edgekit_agent.process import WorkerProcess
from edgekit_agent.protocol import Reason
from edgekit_agent.remote import RemoteConfig
from edgekit_agent.rundir import CONTROL
from edgekit_agent.spool import Spool
from edgekit_agent.status import Board
from edgekit_agent.update.updates import Updates

_log = logging.getLogger(__name__)

JOB_TURN_S = 0.2
COMMANDS = "commands.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Parts:
    """The parts of a supervisor that can be asked for."""

    core: Core
    workers: Mapping[WorkerId, WorkerProcess]
    spool: Spool
    gauges: Gauges


class Operations:
    """Stands between operators and the supervisor; it reads the supervisor's parts and changes none of them."""

    def __init__(
        self, config: AgentConfig, parts: Parts, updates: Updates, remote: RemoteConfig, now: Callable[[], Now]
    ) -> None:
        """Take what it tells of; nothing is opened yet."""
        self._config, self._updates, self._remote, self._now = config, updates, remote, now
        self._core, self._workers, self._spool, self._gauges = parts.core, parts.workers, parts.spool, parts.gauges
        self.board = Board(now())
        self._tail = LogTail(_secrets(config))
        self.commands = Commands(
            StateFile(Path(config.state_dir, COMMANDS)),
            {"status": self._status_asked, "log-tail": self._log_asked},
            {"benchmark": self._benchmark},
        )
        self.control: ControlServer | None = None

    def open(self) -> None:
        """Keep the log's last lines, and listen on the control socket if it can be made."""
        logging.getLogger("edgekit_agent").addHandler(self._tail)
        folder = self._config.run_folder
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o755)
            self.control = ControlServer(folder / CONTROL, self._answer)
        except OSError as exc:
            _log.warning("%s", logline({"event": "no-control-socket", "reason": str(exc)}))

    def close(self) -> None:
        """Close what `open` has opened."""
        logging.getLogger("edgekit_agent").removeHandler(self._tail)
        if self.control is not None:
            self.control.close()

    def tick(self, now: Now) -> list[Answer]:
        """Serve the control socket and return what a job has to tell."""
        if self.control is not None:
            self.control.poll(now.s)
        return self.commands.tick(now)

    def next_time(self, now: Now) -> float | None:
        """Return when `tick` has something to do, beside what the control socket's descriptor tells."""
        times = [now.s + JOB_TURN_S] if self.commands.busy else []
        if self.control is not None:
            times += [one for one in (self.control.next_time(),) if one is not None]
        return min(times, default=None)

    def status(self) -> dict[str, Any]:
        """Return how everything stands, as the document of schema 1."""
        now, remote = self._now(), self._remote.state
        document = self.board.document(now)
        document["broker"]["url"] = self._config.broker.url
        return {
            **document,
            "agent": __version__,
            "device": self._config.device,
            "site": self._config.site,
            "boot": self._core.boot,
            "pid": os.getpid(),
            "spool": {
                "waiting": len(self._spool),
                "dropped": self._spool.dropped,
                "trouble": self._spool.trouble,
            },
            "gauges": dict(self._gauges.device(now.s)),
            "configuration": remote and remote.to_json(),
            "models": [self._model(crew, now) for crew in self._core.described()],
            "updates": self._updates.phases(),
        }

    def _model(self, crew: Mapping[str, Any], now: Now) -> dict[str, object]:
        workers = []
        for one in crew["workers"]:
            process = self._workers.get(WorkerId(crew["name"], crew["release"], one["number"]))
            pid = process and process.process.pid
            workers.append({**one, "pid": pid, **(self._gauges.process(pid, now.s) if pid else {})})
        return {**crew, "workers": workers, "window": self.board.window(crew, now)}

    def _answer(self, question: str) -> dict[str, object]:
        return self.status() if question == "status" else {"schema": 1, "error": "the question is not 'status'"}

    # --- commands

    def _status_asked(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        check_names(arguments, ())
        return self.status()

    def _log_asked(self, arguments: Mapping[str, object]) -> Mapping[str, object]:
        lines = {worker: list(process.last_lines) for worker, process in self._workers.items()}
        return log_tail(self._tail, lines, arguments)

    def _benchmark(self, arguments: Mapping[str, object], end_s: float) -> Job:
        if self._updates.trying:
            raise CommandError(Reason.COMMAND_BUSY, "an update is on trial, which a benchmark would disturb")
        name = arguments.get("model")
        crew = self._core.current(name) if isinstance(name, str) else None
        if crew is None:
            raise CommandError(Reason.COMMAND_INVALID, f"'model' is '{str(name)[:64]}', which is not running here")
        return Benchmark(replace(crew.config, threads=crew.threads), arguments, end_s, self._now())


def _secrets(config: AgentConfig) -> list[str]:
    """Return what must not be told, of the files that hold it."""
    found = []
    if config.broker.password_file is not None:
        with contextlib.suppress(OSError, UnicodeDecodeError):
            found.append(Path(config.broker.password_file).read_text().rstrip("\n"))
    return found
