"""Run a heavy or crash-prone piece of work in a child process.

TensorFlow, the TFLite compiler and NNCF write to the terminal, take gigabytes and (the compiler)
abort the process they run in. A job is a module with `run(request) -> answer` of JSON values;
arrays travel as `.npz` files named in the request. The child's output goes to the log. It ends when
its parent does, however that ends: a pipe between them is closed then.
"""

import importlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from edgekit_converters import errors
from edgekit_converters.events import OnEvent, Told

Json = Any  # JSON values in and out of a job

_TAIL_BYTES = 2000
_LOOK_S = 0.5


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRunner:
    """Where jobs run: `log` takes the libraries' noise, `python` is the interpreter to use."""

    log: Path
    python: str = sys.executable
    environment: Mapping[str, str] = field(default_factory=dict)
    deadline_s: float = 6 * 3600.0
    """When a job that still runs is taken for one that never ends."""

    def run(
        self,
        module: str,
        request: Mapping[str, Json],
        environment: Mapping[str, str] | None = None,
        on_event: OnEvent = lambda _: None,
    ) -> Json:
        """Run `module.run(request)` in a child and return its answer.

        The job finds in its request, as `events`, where `events.written_to` writes what is handed on to `on_event`.

        Raises:
            ConversionError: the kind the job raised, with its message and notes.
            JobCrashedError: if the child was killed, ran out of memory or time, or died without an answer.
        """
        with tempfile.TemporaryDirectory(prefix="edgekit-job-") as folder, self.log.open("ab") as log:
            asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
            told = Told(Path(folder, "events"), on_event)
            asked.write_text(json.dumps({**request, "events": str(told.path)}))
            log.write(f"--- {module}\n".encode())
            log.flush()
            start = log.tell()
            settings = {**os.environ, **_QUIET, **self.environment, **(environment or {})}
            code = self._process([module, str(asked), str(answered)], log, settings, told.hand_on)
            if not answered.exists():
                raise self._crashed(module, code, start)
            answer = json.loads(answered.read_text())
        if "error" in answer:
            raise _rebuild(answer["error"], _short(module))
        return answer["result"]

    def _process(
        self,
        words: Sequence[str],
        log: IO[bytes],
        environment: Mapping[str, str],
        look: Callable[[], None],
    ) -> int:
        """Carry out a job in a process of its own; return how it ended, as `Popen.returncode` says it.

        `look` is called now and then, and once it has ended.
        """
        # -P keeps the current folder off the child's import path: a user's file named like a library is not run.
        with subprocess.Popen(
            [self.python, "-P", "-m", "edgekit_converters.jobs", *words],
            stdin=subprocess.PIPE,  # nothing is written: the child watches for its end
            stdout=log,
            stderr=log,
            env=environment,
        ) as child:
            try:
                return _wait(child, self.deadline_s, look)
            except subprocess.TimeoutExpired as exc:
                raise errors.JobCrashedError(
                    f"the process running {_short(words[0])} had not ended after {self.deadline_s:g} s"
                ) from exc
            finally:
                child.kill()  # nothing to one that has ended

    def _crashed(self, module: str, code: int, start: int) -> errors.JobCrashedError:
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with code {code}"
        error = errors.JobCrashedError(f"the process running {_short(module)} {how}")
        with self.log.open("rb") as log:
            log.seek(max(start, log.seek(0, os.SEEK_END) - _TAIL_BYTES))
            tail = log.read().decode(errors="replace").strip().splitlines()
        if tail:
            error.add_note(f"its last line: {tail[-1][:300]}")
        return error


def _wait(child: "subprocess.Popen[bytes]", deadline_s: float, look: Callable[[], None]) -> int:
    """Wait for a child and look at what it tells meanwhile; return how it ended.

    Raises:
        subprocess.TimeoutExpired: if it has not in time.
    """
    end = time.monotonic() + deadline_s
    while True:
        left = end - time.monotonic()
        try:
            return child.wait(min(_LOOK_S, max(left, 0)))
        except subprocess.TimeoutExpired:
            if left <= 0:
                raise
        finally:
            look()


# Telemetry of the libraries is off, and their chatter is as small as they allow.
_QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2", "TF_ENABLE_ONEDNN_OPTS": "0", "CUDA_VISIBLE_DEVICES": "-1"}


def _short(module: str) -> str:
    return module.rsplit(".", 1)[-1]


def _rebuild(described: Mapping[str, Json], job: str) -> Exception:
    if described["errno"] is not None:  # a full disk or a missing permission stays what it is
        return OSError(described["errno"], described["message"], described["file"])
    if described["kind"] == MemoryError.__name__:
        return errors.JobCrashedError(f"the process running {job} ran out of memory: {described['message']}")
    kind = getattr(errors, described["kind"], None)
    if kind is None:
        failure = RuntimeError(described["message"])
        failure.add_note(described["traceback"])
        return failure
    error: Exception = kind(described["message"])
    for note in described["notes"]:
        error.add_note(note)
    return error


def carry_out(module: str, asked: str, answered: str) -> None:
    """Inside the child: run a module on the request in the file `asked`, and write to the file `answered`."""
    import traceback

    run: Callable[[Json], Json] = importlib.import_module(module).run
    try:
        answer = {"result": run(json.loads(Path(asked).read_text()))}
    except Exception as exc:  # noqa: BLE001  # the port: whatever it was goes back to the parent
        traceback.print_exc()
        answer = {
            "error": {
                "kind": (MemoryError if isinstance(exc, MemoryError) else type(exc)).__name__,
                "message": exc.strerror or str(exc) if isinstance(exc, OSError) else str(exc),
                "errno": exc.errno if isinstance(exc, OSError) else None,
                "file": str(exc.filename or "") if isinstance(exc, OSError) else None,
                "notes": getattr(exc, "__notes__", []),
                "traceback": traceback.format_exc(),
            }
        }
    beside = Path(answered + ".part")
    beside.write_text(json.dumps(answer))
    beside.replace(answered)


def _end_with_the_parent() -> None:
    """Inside the child: end at once when the pipe at stdin is closed, for nobody waits for the answer any more.

    The job itself, and what it starts, find nothing at stdin.
    """
    pipe = os.dup(0)
    with open(os.devnull) as nothing:  # noqa: PTH123  # a device, no path
        os.dup2(nothing.fileno(), 0)

    def watch() -> None:
        os.read(pipe, 1)
        os._exit(1)

    threading.Thread(target=watch, name="parent", daemon=True).start()


if __name__ == "__main__":
    _end_with_the_parent()
    carry_out(*sys.argv[1:])
