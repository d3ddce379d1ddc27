"""The file that says how a model cut into stages is put together: `NAME.pipeline`, JSON beside the stages' own files.

`{"schema": 1, "inputs": [{"name", "shape", "dtype"}], "outputs": ["y"], "stages": [{"file", "runtime", "device",
"takes", "gives"}]}`: `file` is a name in the same folder, `runtime` one of the agent's or `auto`, `device` the
runtime's (`CPU`, `GPU`); `takes` and `gives` are names of arrays. Fields it does not know are left alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgekit_agent.errors import ModelError
from edgekit_agent.runtimes.base import TensorSpec

SCHEMA = 1
MAX_BYTES = 1 << 20
MAX_STAGES = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class StageFile:
    """A stage: its model, where it runs, what it takes, what it gives, and what it hands on to those behind."""

    path: Path
    runtime: str
    device: str
    takes: tuple[str, ...]
    gives: tuple[str, ...]
    keeps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Pipeline:
    """What the file says; `taken` are the inputs that any stage takes or that are outputs as they are."""

    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str, ...]
    stages: tuple[StageFile, ...]
    taken: tuple[str, ...]


def read(path: Path) -> Pipeline:
    """Return what a `.pipeline` file says.

    Raises:
        ModelError: if it is missing, not of the form above, or a stage takes what nobody gives.
    """
    try:
        if path.stat().st_size > MAX_BYTES:
            raise ModelError(f"model '{path}' is larger than {MAX_BYTES} bytes")
        document = json.loads(path.read_text())
        if document["schema"] != SCHEMA:
            raise ModelError(f"model '{path}' is a pipeline of schema {document['schema']}, and {SCHEMA} is known")
        return _pipeline(document, path)
    except OSError as exc:
        raise ModelError(f"model '{path}' cannot be read: {exc.strerror}") from exc
    except (ValueError, KeyError, TypeError, AttributeError) as exc:
        raise ModelError(f"model '{path}' is no pipeline: {type(exc).__name__} {exc}") from exc


def _pipeline(document: Mapping[str, Any], path: Path) -> Pipeline:
    inputs = tuple(
        TensorSpec(name=str(one["name"]), shape=tuple(map(int, one["shape"])), dtype=str(one["dtype"]))
        for one in document["inputs"]
    )
    outputs, described = _names(document["outputs"]), document["stages"]
    if not 0 < len(described) <= MAX_STAGES:
        raise ModelError(f"model '{path}' has {len(described)} stages: 1 to {MAX_STAGES} can be run")
    there = {one.name for one in inputs}
    wanted = [{*outputs}]  # behind each stage, from the last
    for one in reversed(described):
        wanted.append((wanted[-1] - {*_names(one["gives"])}) | {*_names(one["takes"])})
    taken = sorted(wanted.pop())
    stages = []
    for number, (one, behind) in enumerate(zip(described, reversed(wanted), strict=True), 1):
        takes, gives = _names(one["takes"]), _names(one["gives"])
        missing = [name for name in takes if name not in there]
        if missing:
            raise ModelError(f"model '{path}': stage {number} takes '{missing[0]}', which none before it gives")
        there |= {*gives}
        name = str(one["file"])
        if name != Path(name).name or name in {"", "."}:
            raise ModelError(f"model '{path}': stage {number} lies elsewhere: '{name}'")
        stages.append(
            StageFile(
                path=path.parent / name,
                runtime=str(one.get("runtime", "auto")),
                device=str(one.get("device", "CPU")),
                takes=takes,
                gives=gives,
                keeps=tuple(sorted(behind)),
            )
        )
    lost = [name for name in outputs if name not in there]
    if lost:
        raise ModelError(f"model '{path}': no stage gives the output '{lost[0]}'")
    return Pipeline(inputs=inputs, outputs=outputs, stages=tuple(stages), taken=tuple(taken))


def _names(listed: Any) -> tuple[str, ...]:  # noqa: ANN401  # JSON
    if not isinstance(listed, list) or not all(isinstance(one, str) for one in listed):
        raise TypeError(f"{listed!r} is no list of names")
    return tuple(listed)
