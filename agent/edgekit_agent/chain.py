"""Stages of a pipeline in processes of their own: each works on an inference while the next works on the one before.

Arrays go from stage to stage by sockets, in order; a stage that is slower makes those before it wait. All processes
end with the one that started them, however that ends: what they read from is closed then.
"""

import contextlib
import json
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections import deque
from collections.abc import Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import IO, Any

from edgekit_agent import errors, pipes
from edgekit_agent.errors import AgentError, ModelError
from edgekit_agent.pipeline_file import Pipeline, StageFile
from edgekit_agent.runtimes.base import Array

WORKER = "edgekit_agent.stage"
START_TIMEOUT_S = 120.0
END_TIMEOUT_S = 5.0
_TAIL_BYTES = 2000

Outputs = dict[str, Array]


@dataclass(slots=True, kw_only=True)
class _Worker:
    stage: StageFile
    process: subprocess.Popen[bytes]
    says: socket.socket
    lines: IO[bytes]
    """What it says, line by line."""
    noise: IO[bytes]


class Chain:
    """Running stages; `ready` is what each said when it was."""

    def __init__(self, pipeline: Pipeline, *, threads: int = 1, batch: int = 1) -> None:
        """Start all stages and wait until they have loaded their models.

        Raises:
            AgentError: of the kind a stage's runtime raised; none is left running then.
        """
        self._pipeline = pipeline
        self._workers: list[_Worker] = []
        self._pending: deque[Future[Outputs]] = deque()
        self._lock = threading.Lock()
        self._failure: AgentError | None = None
        links = [socket.socketpair() for _ in range(len(pipeline.stages) + 1)]
        self._first, self._last = links[0][0], links[-1][1]
        try:
            for at, stage in enumerate(pipeline.stages):
                self._workers.append(_start(stage, links[at][1], links[at + 1][0], threads, batch))
        finally:
            for link in links:
                for end in link:
                    if end is not self._first and end is not self._last:
                        end.close()
        try:
            self.ready = [self._answer(one) for one in self._workers]
        except BaseException:
            self._end()
            raise
        self._collector = threading.Thread(target=self._collect, daemon=True)
        self._collector.start()

    def submit(self, feeds: Mapping[str, Array]) -> "Future[Outputs]":
        """Begin an inference; results come in the order in which they were begun.

        Raises:
            ModelError: if a stage has ended.
        """
        with self._lock:
            if self._failure is not None:
                raise self._failure
            begun: Future[Outputs] = Future()
            self._pending.append(begun)
            with contextlib.suppress(OSError):  # the first stage has ended: the collector finds out why
                pipes.send(self._first, {name: feeds[name] for name in self._pipeline.taken})
        return begun

    def close(self) -> None:
        """End all stages."""
        with self._lock:
            self._failure = self._failure or ModelError("the pipeline is closed")
        self._first.close()
        self._collector.join(END_TIMEOUT_S)
        self._end()

    def _answer(self, worker: _Worker) -> dict[str, Any]:
        worker.says.settimeout(START_TIMEOUT_S)
        try:
            told = json.loads(worker.lines.readline(pipes.MAX_HEAD_BYTES) or b"{}")
        except (OSError, ValueError):
            told = {}
        if "ready" not in told:
            raise self._error(worker, told)
        worker.says.settimeout(None)
        ready: dict[str, Any] = told["ready"]
        return ready

    def _collect(self) -> None:
        """Hand results to those who wait for them, until there are no more; then say why."""
        reader = pipes.Reader(self._last)
        with contextlib.suppress(pipes.BrokenPipeDataError):
            while (outputs := reader.receive()) is not None:
                self._pending.popleft().set_result(outputs)
        if self._failure is None:
            found = self._died()
            with self._lock:
                self._failure = found
        while self._pending:
            self._pending.popleft().set_exception(self._failure)

    def _died(self) -> AgentError:
        """Return why the stages ended, of the first that did not end because another one had."""
        for worker in self._workers:
            with contextlib.suppress(subprocess.TimeoutExpired):
                worker.process.wait(END_TIMEOUT_S)
            if worker.process.returncode:
                try:
                    told = json.loads(worker.lines.readline(pipes.MAX_HEAD_BYTES) or b"{}")
                except (OSError, ValueError):
                    told = {}
                return self._error(worker, told)
        return ModelError("the pipeline's stages have ended")

    def _error(self, worker: _Worker, told: Mapping[str, Any]) -> AgentError:
        number = self._workers.index(worker) + 1
        where = f"stage {number} of the pipeline, '{worker.stage.path.name}',"
        if "error" in told:
            kind: type[AgentError] = getattr(errors, told["error"]["kind"], ModelError)
            return kind(f"{where} failed: {told['error']['message']}")
        with contextlib.suppress(subprocess.TimeoutExpired):
            worker.process.wait(END_TIMEOUT_S)
        error = ModelError(f"{where} {_how(worker.process.returncode)}")
        tail = _tail(worker.noise)
        if tail:
            error.add_note(f"its last line: {tail[:300]}")
        return error

    def _end(self) -> None:
        self._first.close()
        self._last.close()
        for worker in self._workers:
            try:
                worker.process.wait(END_TIMEOUT_S)
            except subprocess.TimeoutExpired:
                worker.process.kill()
                worker.process.wait()
            worker.lines.close()
            worker.says.close()
            worker.noise.close()
        self._workers.clear()


def _start(stage: StageFile, coming: socket.socket, going: socket.socket, threads: int, batch: int) -> _Worker:
    says, theirs = socket.socketpair()
    noise = tempfile.TemporaryFile()  # noqa: SIM115  # closed with the worker
    with theirs:
        ends = [one.fileno() for one in (coming, going, theirs)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", WORKER, *map(str, ends)],
            stdin=subprocess.DEVNULL,
            stdout=noise,
            stderr=noise,
            pass_fds=ends,
        )
    asked = {
        "path": str(stage.path.resolve()),
        "runtime": stage.runtime,
        "device": stage.device,
        "threads": threads,
        "batch": batch,
        "takes": stage.takes,
        "gives": stage.gives,
        "keeps": stage.keeps,
    }
    with contextlib.suppress(OSError):  # it has ended: that is told where its answer is read
        says.sendall(json.dumps(asked).encode() + b"\n")
    return _Worker(stage=stage, process=process, says=says, lines=says.makefile("rb"), noise=noise)


def _how(code: int | None) -> str:
    if code is None:
        return "does not answer"
    if code < 0:
        try:
            return f"was killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"was killed by signal {-code}"
    return f"ended with code {code}"


def _tail(noise: IO[bytes]) -> str:
    size = noise.seek(0, 2)
    noise.seek(max(0, size - _TAIL_BYTES))
    lines = noise.read().decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""
