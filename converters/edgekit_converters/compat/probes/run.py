"""Run the probes: every one-op file on every runtime of `RUNTIMES`, each in an environment of its own.

A crash or a hang is the answer of its case, and the rest goes on.
"""

import hashlib
import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_converters.compat.probes.one_op import TYPES, Case, Value, build
from edgekit_converters.compat.probes.oracle import zero_point

_WORKER = Path(__file__).with_name("worker.py")
_DEADLINE_S = 60.0
_POLL_S = 0.05

Answers = Mapping[int, Mapping[str, Any]]
"""By case: `ok` and `outputs`, or `reason` and what the library `said`; `crashed` where the process died."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Environment:
    """A runtime's wheel and what must be installed with it."""

    runtime: str
    version: str
    beside: tuple[str, ...] = ("numpy",)

    @property
    def name(self) -> str:
        """Name and version, as the table has it."""
        return f"{self.runtime} {self.version}"

    def python(self, folder: Path) -> Path:
        """Return the environment's interpreter below `folder`, made by pip if it is not there."""
        home = folder / f"{self.runtime}-{self.version}"
        python = home / "bin" / "python"
        if not (home / ".done").exists():
            subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
            wanted = [f"{self.runtime}=={self.version}", *self.beside]
            pip = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", "--only-binary=:all:"]
            subprocess.run([*pip, *wanted], check=True)
            (home / ".done").touch()
        return python


@dataclass(frozen=True, slots=True, kw_only=True)
class Probe:
    """A case to run with its op marked as some version; `twin_of` is the number of the quantized case it stands for."""

    case: Case
    version: int = 1
    twin_of: int | None = None


def write_cases(folder: Path, cases: Sequence[Probe]) -> None:
    """Write the files of the probes, numbered in their order, and `cases.json`."""
    folder.mkdir(parents=True, exist_ok=True)
    described = []
    for number, one in enumerate(cases):
        content = build(one.case, one.version)
        (folder / f"{number}.tflite").write_bytes(content)
        source, seed = (one.case, number) if one.twin_of is None else (cases[one.twin_of].case, one.twin_of)
        inputs = [
            _input(value, one.twin_of is not None) for value in source.inputs if value is not None and _is_given(value)
        ]
        asked = {"seed": seed, "inputs": inputs, "outputs": len(one.case.outputs)}
        described.append({"number": number, "key": _digest(content, asked), **asked})
    (folder / "cases.json").write_text(json.dumps(described))


def _digest(content: bytes, asked: Mapping[str, Any]) -> str:
    """Return what an answer is kept by: a case that is changed is asked again."""
    return hashlib.sha256(content + json.dumps(asked).encode()).hexdigest()[:20]


def _is_given(value: Value) -> bool:
    return value.data is None and not value.variable


def _input(value: Value, real: bool) -> list[Any]:
    quantized = value.type.startswith("q")
    scale, zero = (value.scale[0], zero_point(value)) if quantized else (0.0, 0)
    wanted = [value.shape, TYPES[value.type][1], scale, zero, real and quantized]
    return [*wanted, True] if value.positive and quantized else wanted


def answers(environment: Environment, python: Path, folder: Path, log: Path) -> Answers:
    """Run all cases of `folder` on a runtime; `log` keeps the answers, and a second run asks only what is new."""
    keys = [one["key"] for one in json.loads((folder / "cases.json").read_text())]
    while not (found := _read(log)).keys() >= set(keys):
        before = _lines(log)
        command = [str(python), "-I", str(_WORKER), environment.runtime, str(folder), str(log)]
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        hung = _watch(child, log)
        said = child.communicate()[1].decode("utf-8", "replace")
        if child.returncode == 0:
            continue
        if _lines(log) == before:
            raise RuntimeError(f"the probes of {environment.name} did not start: {said[-500:]}")
        how = "it does not come to an end" if hung else f"it ends the process with signal {-child.returncode}"
        _close_last(log, how)
    return {number: found[key] for number, key in enumerate(keys)}


def _watch(child: "subprocess.Popen[bytes]", log: Path) -> bool:
    """Wait for a child; kill it and return True when nothing was answered for too long."""
    size, since = -1, time.monotonic()
    while child.poll() is None:
        time.sleep(_POLL_S)
        now = log.stat().st_size if log.exists() else 0
        if now != size:
            size, since = now, time.monotonic()
        elif time.monotonic() - since > _DEADLINE_S:
            child.kill()
            return True
    return False


def _close_last(log: Path, how: str) -> None:
    """Answer the case that was begun and not finished."""
    started = [json.loads(line) for line in log.read_text().splitlines()][-1]
    if "ok" in started:
        raise RuntimeError(f"a probe process died between two cases, after {started['case']}")
    with log.open("a") as file:
        file.write(
            json.dumps({"case": started["case"], "ok": False, "crashed": True, "reason": how, "said": ""}) + "\n"
        )


def _lines(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def _read(log: Path) -> dict[str, Mapping[str, Any]]:
    lines = log.read_text().splitlines() if log.exists() else []
    return {one["case"]: one for one in map(json.loads, lines) if "ok" in one}
