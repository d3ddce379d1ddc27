"""A job that feeds files to the command line, each in a fork of a process that has everything imported.

What a command would run in a job of its own runs in the fork. So a file takes a fraction of a second, a crash is
noticed, and what is seen is the exit code that a user would see.
"""

import gc
import importlib
import json
import os
import resource
import select
import shutil
import signal
import sys
import time
import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import numpy as np

from edgekit_converters import deadline, jobs
from edgekit_converters.jobs import JobRunner

_MEMORY_BYTES = 6 << 30
_START_S = 120.0
_CONVERT = ("convert", "{model}", "--no-bench", "--progress", "off", "-o", "{out}")
COMMANDS: Mapping[str, tuple[str, ...]] = {
    "inspect": ("inspect", "{model}", "--json", "--progress", "off"),
    "tflite": (*_CONVERT, "--to", "tflite", "--precision", "fp32"),
    "openvino": (*_CONVERT, "--to", "openvino", "--precision", "fp32"),
    "compare": ("compare", "{model}", "{sound}", "--data", "{data}", "--layers", "--json", "--progress", "off"),
    "evaluate": ("evaluate", "{model}", "--data", "{data}", "--json", "--progress", "off"),
    "int8": (*_CONVERT, "--to", "tflite", "--precision", "int8", "--calib", "random"),
    "int4": (*_CONVERT, "--to", "tflite", "--precision", "int4-weights:group=32"),
    "gate": (
        *(*_CONVERT, "--to", "tflite", "--precision", "int8", "--calib", "random", "--eval", "{data}"),
        *("--metric", "top1", "--max-drop", "0", "--time-budget", "1"),
    ),
}


def run(request: dict[str, Any]) -> list[dict[str, Any]]:
    """Feed mutants to a command until `budget_s` is over; return for each its name, its file, and what came of it.

    The request names the module `generator`, its `sources`, `seed` and `count`, and a `sound` file to begin with.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # how an import is refused
    folder, words = Path(request["folder"]), COMMANDS[request["command"]]
    deadline.RUN_S = request["deadline_s"] / 4
    more = [Path(one).read_bytes() for one in request["sources"]]
    generator = importlib.import_module(request["generator"])
    sound = _written(folder / f"sound{request['suffix']}", generator.sources(more)[0], generator)
    samples = np.random.default_rng(0).random((2, *generator.SAMPLE), dtype=np.float32)
    np.savez(folder / "data.npz", x=samples, y=np.zeros(len(samples), np.int64))
    JobRunner._process = _here  # type: ignore[method-assign,assignment]
    _import_what_it_imports(words, sound, folder)
    JobRunner._process = _in_a_fork  # type: ignore[method-assign,assignment]
    end = time.monotonic() + request["budget_s"]
    answers = []
    for name, data in generator.mutants(request["seed"], request["count"], more):
        model = _written(folder / f"{name}{request['suffix']}", data, generator)
        answer = {"name": name, "model": str(model), **_fork(words, model, folder, request["deadline_s"])}
        answers.append(answer)
        if answer["code"] in {0, 3, 6}:
            for file in folder.glob(f"{name}.*"):
                file.unlink()
        if time.monotonic() > end:
            break
    return answers


def _written(model: Path, data: bytes, generator: Any) -> Path:
    model.write_bytes(data)
    if hasattr(generator, "BESIDE"):
        suffix, beside = generator.BESIDE
        model.with_suffix(suffix).write_bytes(beside)
    return model


def _here(runner: JobRunner, words: Sequence[str], log: IO[bytes], environment: Mapping[str, str], look: object) -> int:
    """Carry out a job in this process."""
    del runner, log, environment, look
    jobs.carry_out(*words)
    return 0


def _in_a_fork(
    runner: JobRunner, words: Sequence[str], log: IO[bytes], environment: Mapping[str, str], look: object
) -> int:
    """Carry out a job in a fork of this process, which has all that it imports."""
    del runner, look
    pid = os.fork()
    if not pid:
        os.environ.update(environment)
        os.dup2(log.fileno(), 1)
        os.dup2(log.fileno(), 2)
        try:
            jobs.carry_out(*words)
        finally:
            os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def _import_what_it_imports(words: tuple[str, ...], sound: Path, folder: Path) -> None:
    """Let a fork run the command on a sound model, and import what it did: nothing that starts threads runs here."""
    loaded = folder / "modules.json"
    answer = _fork(words, sound, folder, _START_S, loaded)
    if answer["code"] != 0:
        raise RuntimeError(f"a sound model gives {answer}")
    for name in json.loads(loaded.read_text()):
        if name not in sys.modules and not name.startswith("_"):
            try:
                importlib.import_module(name)
            except Exception:  # noqa: BLE001, S112  # a name that libraries made up
                continue
    gc.freeze()  # a collection would touch, and so copy, every page of the forks
    gc.disable()


def _fork(
    words: tuple[str, ...], model: Path, folder: Path, deadline_s: float, modules: Path | None = None
) -> dict[str, Any]:
    """Return the exit code of the command, or how it died; what it said; and what it left though it failed."""
    start, log, out = time.monotonic(), folder / "stderr", folder / "out"
    pid = os.fork()
    if not pid:
        _be_the_command(_filled(words, model, folder), log, modules)
    waiting = os.pidfd_open(pid)
    try:
        ended, _, _ = select.select([waiting], [], [], deadline_s)
    finally:
        os.close(waiting)
    if not ended:
        os.kill(pid, signal.SIGKILL)
    status = os.waitpid(pid, 0)[1]
    code = os.waitstatus_to_exitcode(status)
    left = [] if code == 0 else [str(one.relative_to(out)) for one in out.rglob("*")]
    shutil.rmtree(out, ignore_errors=True)
    return {
        "code": code if code >= 0 else None,
        "died": None if code >= 0 else signal.Signals(-code).name if ended else f"hangs for {deadline_s:g} s",
        "said": log.read_text(errors="replace")[-3000:],
        "left": left,
        "seconds": round(time.monotonic() - start, 3),
    }


def _filled(words: tuple[str, ...], model: Path, folder: Path) -> list[str]:
    places = {"model": model, "out": folder / "out", "data": folder / "data.npz"}
    return [one.format(**places, sound=folder / f"sound{model.suffix}") for one in words]


def _be_the_command(words: list[str], log: Path, modules: Path | None) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_BYTES, _MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
    os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC), 2)
    code = 1
    try:
        sys.argv = ["edgekit", *words]
        importlib.import_module("edgekit.cli.main").main()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else 0 if exc.code is None else 1
        if modules:
            modules.write_text(json.dumps(list(sys.modules)))
    except BaseException:  # noqa: BLE001  # what the interpreter itself would show
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(code)
