"""Interpreters that have a runtime, and loading a model in one of them: in a process of its own, with a deadline.

A crash, a hang or a refusal is an answer about the model, not a failure of this tool.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import edgekit_agent
from edgekit import _load_once
from edgekit.errors import EnvironmentMissingError
from edgekit_converters.compat.findings import Status

_VERSIONS = """
import importlib.metadata as m, json, sys
found = {}
for name in sys.argv[1:]:
    try:
        found[name] = m.version(name)
    except m.PackageNotFoundError:
        pass
print(json.dumps(found))
"""
_QUICK_S = 30.0
_SAID_CHARACTERS = 300
_CHATTER = ("INFO:", "WARNING:", "I0000", "W0000")
DEADLINE_S = 120.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Interpreter:
    """A Python and the runtimes it has, by name with their versions."""

    python: Path
    runtimes: dict[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """What came of loading and running a model once; `reason` is empty when it ran."""

    runtime: str
    version: str
    status: Status
    reason: str = ""


def interpreters(named: Sequence[Path] = ()) -> list[Interpreter]:
    """Return the named interpreters, this one, and the device's (`EDGEKIT_DEVICE_PYTHON`), with what they have.

    Raises:
        EnvironmentMissingError: if a named one does not start.
    """
    found = []
    for python in named:
        runtimes = _runtimes(python)
        if runtimes is None:
            raise EnvironmentMissingError(f"'{python}' is not a Python that starts")
        found.append(Interpreter(python=python, runtimes=runtimes))
    device = os.environ.get("EDGEKIT_DEVICE_PYTHON")
    for python in (Path(sys.executable), *([Path(device)] if device else [])):
        runtimes = _runtimes(python)
        if runtimes:
            found.append(Interpreter(python=python, runtimes=runtimes))
    return found


def load(model: Path, runtime: str, interpreter: Interpreter, deadline_s: float = DEADLINE_S) -> Loaded:
    """Load a model and run it once on made-up inputs."""
    agent = Path(edgekit_agent.__file__).parent
    command = [str(interpreter.python), "-I", _load_once.__file__, runtime, str(model.resolve()), str(agent)]
    status, reason = _outcome(command, deadline_s)
    return Loaded(runtime=runtime, version=interpreter.runtimes[runtime], status=status, reason=reason)


def _runtimes(python: Path) -> dict[str, str] | None:
    try:
        said = subprocess.run(
            [str(python), "-I", "-c", _VERSIONS, *_load_once.RUNTIMES],
            capture_output=True,
            check=True,
            text=True,
            timeout=_QUICK_S,
        )
        found: dict[str, str] = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found


def _outcome(command: Sequence[str], deadline_s: float) -> tuple[Status, str]:
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=deadline_s, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return Status.FAILS, f"it did not come to an end in {deadline_s:.0f} s"
    if done.returncode == 0:
        return Status.RUNS, ""
    if done.returncode < 0:
        return Status.CRASHES, f"it ended the process with {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").splitlines()
    said = " ".join(" ".join(line for line in lines if not line.startswith(_CHATTER)).split())
    if done.returncode == _load_once.UNCERTAIN:
        return Status.UNKNOWN, f"it loads, and with made-up inputs it fails: {said[:_SAID_CHARACTERS]}"
    if done.returncode == _load_once.REFUSED:
        return Status.FAILS, said[:_SAID_CHARACTERS]
    return Status.FAILS, f"the process ended with code {done.returncode}: {said[-_SAID_CHARACTERS:]}"
