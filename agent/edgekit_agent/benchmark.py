"""The command `benchmark`: `edgekit-agent bench` of a model in a process that gives way to everything else."""

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import IO, Any

from edgekit_agent.actions import Now
from edgekit_agent.commands import CommandError, check_names, whole_number
from edgekit_agent.config import ModelConfig
from edgekit_agent.protocol import Reason, Result, sentence

MOST_RUNS, DEFAULT_RUNS = 10_000, 200
MOST_THREADS, MOST_STREAMS = 64, 16
NICE = 10
MOST_OUTPUT_BYTES = 128 * 1024
TELL_S = 1.0
_CHUNK, _LAST_BYTES = 65536, 4000
_PROGRESS = "progress="


class Benchmark:
    """A running benchmark; `poll` tells its progress at most once a second, and then its result."""

    def __init__(self, model: ModelConfig, arguments: Mapping[str, object], end_s: float, now: Now) -> None:
        """Begin.

        Args:
            model: as it is at work; its own worker goes on.
            arguments: `runs`, `threads`, `streams`, and `model`.
            end_s: by when it has to be done, on the steady clock.
            now: the moment.

        Raises:
            CommandError: if an argument is wrong, or no process can be started.
        """
        check_names(arguments, ("model", "runs", "threads", "streams"))
        runs = whole_number(arguments, "runs", DEFAULT_RUNS, MOST_RUNS)
        usual = model.threads if isinstance(model.threads, int) else 1
        threads = whole_number(arguments, "threads", usual, MOST_THREADS)
        streams = whole_number(arguments, "streams", 1, MOST_STREAMS)
        self._model, self._end_s, self._told_s = model, end_s, now.s
        self._output, self._noise, self._progress = b"", b"", 0.0
        command = [sys.executable, "-P", "-m", "edgekit_agent", "bench", model.path, "--json", "--progress"]
        command += ["--runtime", model.runtime, "--device", model.device]
        if model.delegate is not None:
            command += ["--delegate", model.delegate]
        command += _pairs("--delegate-option", model.delegate_options) + _pairs("--property", model.properties)
        figures = {"nice": NICE, "runs": runs, "threads": threads, "streams": streams, "limit-s": end_s - now.s}
        options = [word for name, value in figures.items() for word in (f"--{name}", f"{value:g}")]
        try:
            self._process = subprocess.Popen(
                [*command, *options],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
            )
        except OSError as exc:
            raise CommandError(Reason.COMMAND_FAILED, f"no process can be started: {exc.strerror}") from exc
        assert self._process.stdout is not None  # noqa: S101  # asked for above
        assert self._process.stderr is not None  # noqa: S101
        self._files = self._process.stdout, self._process.stderr
        for file in self._files:
            os.set_blocking(file.fileno(), False)

    def poll(self, now: Now) -> list[Result]:
        """Return what there is to tell."""
        ended = self._process.poll() is not None  # asked before reading: nothing comes after what is read then
        self._output += _read(self._files[0])
        self._noise += _read(self._files[1])
        self._look_for_progress()
        if ended:
            self._close()
            return [self._ended()]
        if now.s >= self._end_s:
            self.stop()
            return [_failed(Reason.COMMAND_EXPIRED, sentence(Reason.COMMAND_EXPIRED))]
        if len(self._output) > MOST_OUTPUT_BYTES:
            self.stop()
            return [_failed(Reason.COMMAND_FAILED, f"it said more than {MOST_OUTPUT_BYTES} bytes")]
        if now.s - self._told_s < TELL_S:
            return []
        self._told_s = now.s
        return [Result(status="running", progress=self._progress)]

    def stop(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()
        self._close()

    def _close(self) -> None:
        for file in self._files:
            file.close()

    def _look_for_progress(self) -> None:
        *lines, rest = self._noise.rsplit(b"\n", 1)
        for line in lines[0].decode(errors="replace").splitlines() if lines else ():
            if line.startswith(_PROGRESS):
                with contextlib.suppress(ValueError):
                    self._progress = min(max(float(line.removeprefix(_PROGRESS)), 0.0), 1.0)
        self._noise = self._noise[-_LAST_BYTES:] if len(rest) <= _LAST_BYTES else rest[-_LAST_BYTES:]

    def _ended(self) -> Result:
        code = self._process.returncode
        lines = [line for line in self._noise.decode(errors="replace").splitlines() if not line.startswith(_PROGRESS)]
        if code:
            how = f"ended with code {code}" if code > 0 else f"was killed by signal {-code}"
            return _failed(Reason.COMMAND_FAILED, ": ".join([f"the benchmark {how}", *lines[-1:]]))
        try:
            answer: dict[str, Any] = json.loads(self._output)
        except ValueError:
            return _failed(Reason.COMMAND_FAILED, "the benchmark's answer is no JSON")
        told = {**answer, "model": self._model.name, "ver": self._model.version}
        return Result(status="done", progress=1.0, result=told)


def _pairs(option: str, values: Mapping[str, object]) -> list[str]:
    return [word for name, value in values.items() for word in (option, f"{name}={value}")]


def _failed(reason: Reason, text: str) -> Result:
    return Result(status="failed", reason=reason.value, text=text)


def _read(file: IO[bytes]) -> bytes:
    found = b""
    with contextlib.suppress(BlockingIOError):
        while len(found) <= MOST_OUTPUT_BYTES and (chunk := os.read(file.fileno(), _CHUNK)):
            found += chunk
    return found
