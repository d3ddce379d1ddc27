"""Interpreters that have a runtime, and loading a model in one of them: in a process of its own, with a deadline.

A crash, a hang or a refusal is an answer about the model, not a failure of this tool.
"""

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import edgekit_agent
from edgekit import _load_once
from edgekit.errors import EnvironmentMissingError

# The agent runs these; the others have a script of their own.
_AGENT_RUNTIMES = frozenset({"ai-edge-litert", "tflite-runtime", "openvino"})
_DISTRIBUTIONS = (*sorted(_AGENT_RUNTIMES), *_load_once.RUNTIMES)
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
# The host's own copy of the agent, and nothing else of the host's, for an interpreter that has only the runtime.
_AGENT = """
import importlib.util, runpy, sys
where = sys.argv.pop(1)
spec = importlib.util.spec_from_file_location(
    "edgekit_agent", where + "/__init__.py", submodule_search_locations=[where]
)
module = sys.modules["edgekit_agent"] = importlib.util.module_from_spec(spec)
spec.loader.exec_module(module)
runpy.run_module("edgekit_agent.measure", run_name="__main__")
"""
_QUICK_S = 30.0
_SAID_CHARACTERS = 300
DEADLINE_S = 120.0
CRASHED = "it ended the process with"
"""How a reason begins that is no refusal."""


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
    """Load a model and run it once on seeded inputs."""
    loaded = _by_agent if runtime in _AGENT_RUNTIMES else _by_script
    reason = loaded(model.resolve(), runtime, interpreter.python, deadline_s)
    return Loaded(runtime=runtime, version=interpreter.runtimes[runtime], reason=reason)


def _runtimes(python: Path) -> dict[str, str] | None:
    try:
        said = subprocess.run(
            [str(python), "-I", "-c", _VERSIONS, *_DISTRIBUTIONS],
            capture_output=True,
            check=True,
            text=True,
            timeout=_QUICK_S,
        )
        found: dict[str, str] = json.loads(said.stdout)
    except (OSError, subprocess.SubprocessError, ValueError):
        return None
    return found


def _by_agent(model: Path, runtime: str, python: Path, deadline_s: float) -> str:
    """Run the model with the agent's own runtime and return why it failed."""
    one = {"id": "0", "path": str(model), "runtime": runtime, "threads": 1}
    request = {"models": [one], "inputs": None, "outputs": None, "runs": 0, "warmup": 0, "seed": 0, "batch": 1}
    with tempfile.TemporaryDirectory(prefix="edgekit-check-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request))
        where = str(Path(edgekit_agent.__file__).parent)
        command = [str(python), "-I", "-c", _AGENT, where, str(asked), str(answered)]
        died = _died(command, deadline_s)
        if died or not answered.exists():
            return died or "the process ended without an answer"
        answer = json.loads(answered.read_text())["models"]["0"]
    return _error(answer)


def _error(answer: dict[str, Any]) -> str:
    return str(answer["error"]["message"]) if "error" in answer else ""


def _by_script(model: Path, runtime: str, python: Path, deadline_s: float) -> str:
    """Run the model with a script of its own and return why it failed."""
    return _died([str(python), "-I", _load_once.__file__, runtime, str(model)], deadline_s)


def _died(command: Sequence[str], deadline_s: float) -> str:
    """Run a command and return how it died, nothing when it ended well."""
    try:
        done = subprocess.run(command, capture_output=True, check=False, timeout=deadline_s, stdin=subprocess.DEVNULL)
    except subprocess.TimeoutExpired:
        return f"it did not come to an end in {deadline_s:.0f} s"
    if done.returncode == 0:
        return ""
    if done.returncode < 0:
        return f"{CRASHED} {signal.Signals(-done.returncode).name}"
    lines = done.stderr.decode(errors="replace").strip().splitlines()
    if done.returncode == _load_once.REFUSED:
        return " ".join(" ".join(lines).split())[:_SAID_CHARACTERS]
    return f"the process ended with code {done.returncode}: {' '.join(lines[-1:])[:_SAID_CHARACTERS]}"
