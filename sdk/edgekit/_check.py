"""`edgekit.check`: will this artifact run there? By the table of probes, by rules, and by loading it where it can."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from edgekit._events import Event, OnEvent, ignore
from edgekit._interpreters import Interpreter, interpreters, load
from edgekit._report import SCHEMA
from edgekit._targets import target
from edgekit._verdict import RuntimeCheck, decided
from edgekit.errors import GateError, UsageError
from edgekit_converters.compat import runtimes as known
from edgekit_converters.compat import table as probes
from edgekit_converters.compat import tflite_check
from edgekit_converters.compat.findings import Finding, Kind, Status
from edgekit_converters.compat.nodes import Node, read_nodes
from edgekit_converters.compat.rules import TFLITE_RULES, openvino_devices
from edgekit_converters.errors import ModelFileError, UnsupportedError
from edgekit_converters.jobs import JobRunner

_DEVICES: Mapping[str, str] = {"openvino-gpu": "GPU", "openvino-npu": "NPU"}


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckResult:
    """A model against every runtime asked for."""

    model: Path
    operators: int | None
    runtimes: tuple[RuntimeCheck, ...]

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1."""
        rows = [one.to_json() for one in self.runtimes]
        return {"schema": SCHEMA, "path": str(self.model), "operators": self.operators, "runtimes": rows}

    def check(self) -> None:
        """Raise unless the model runs everywhere.

        Raises:
            GateError: naming the runtimes where it does not or may not run.
        """
        bad = [f"{one.name} ({one.verdict})" for one in self.runtimes if one.verdict is not Status.RUNS]
        if bad:
            raise GateError(f"model '{self.model}' is not sure to run on: {', '.join(bad)}")


def check(
    model: Path,
    runtimes: Sequence[str] = (),
    *,
    targets: Sequence[str] = (),
    pythons: Sequence[Path] = (),
    on_event: OnEvent = ignore,
) -> CheckResult:
    """Say for each runtime (`tflite-runtime==2.14.0`) and target whether a `.tflite`, `.xml` or `.onnx` runs there.

    Where an interpreter has the runtime (this one, `EDGEKIT_DEVICE_PYTHON`, or one of `pythons`), the model is loaded
    and run once in a process of its own, and what happens then decides.

    Raises:
        UsageError: if there is no such runtime or target, or none was asked for.
        ModelFileError: if the model cannot be read.
        UnsupportedError: if a runtime does not take files of this format.
        EnvironmentMissingError: if one of `pythons` does not start.
    """
    wanted = _wanted(model, runtimes, targets)
    if not model.is_file():
        raise ModelFileError(f"model '{model}' does not exist")
    nodes = read_nodes(model.read_bytes(), str(model)) if model.suffix.lower() == ".tflite" else None
    here = interpreters(pythons)
    with tempfile.TemporaryDirectory(prefix="edgekit-") as scratch:
        subject = _Subject(model, nodes, JobRunner(log=Path(scratch, "run.log")))
        rows = []
        for one in wanted:
            on_event(Event(stage="check", detail=str(one)))
            rows += _check_one(subject, one, here)
    return CheckResult(model=model, operators=None if nodes is None else len(nodes), runtimes=tuple(rows))


@dataclass(slots=True)
class _Subject:
    """The model being checked; OpenVINO's view of it is read when first asked for."""

    model: Path
    nodes: list[Node] | None
    jobs: JobRunner

    def openvino_nodes(self) -> list[dict[str, object]]:
        request = {"model": str(self.model.resolve())}
        found: list[dict[str, object]] = self.jobs.run("edgekit_converters.compat.openvino_nodes", request)["nodes"]
        return found


def _wanted(model: Path, runtimes: Sequence[str], targets: Sequence[str]) -> list[known.Wanted]:
    asked = [*runtimes, *(one for name in targets for one in target(name).runtimes)]
    if not asked:
        raise UsageError("name what to check against with --runtime or --target")
    try:
        wanted = [known.parse(one) for one in dict.fromkeys(asked)]
    except known.UnknownRuntimeError as exc:
        raise UsageError(str(exc)) from exc
    for one in wanted:
        formats = known.RUNTIMES[one.runtime]
        if model.suffix.lower() not in formats:
            raise UnsupportedError(f"model '{model}': {one.runtime} takes {' and '.join(formats)} files")
    return wanted


def _check_one(subject: _Subject, wanted: known.Wanted, here: Sequence[Interpreter]) -> list[RuntimeCheck]:
    """Check against every version that was asked for."""
    if wanted.runtime in TFLITE_RULES or wanted.runtime in _DEVICES:
        return [decided((wanted.runtime, ""), Kind.RULE, _by_rules(subject, wanted.runtime))]
    present = _present(wanted, here)
    table = probes.load()
    columns = known.columns(table, wanted) if subject.nodes is not None else {}
    if not wanted.versions and present:  # a bare name is the runtime that is here
        version = next(iter(present))
        columns = known.columns(table, known.parse(f"{wanted.runtime}=={version}")) if columns else {}
    rows = []
    for version in columns or present or [_exact(wanted)]:
        findings = None
        if subject.nodes is not None and version in columns:
            findings = tflite_check.judge(table, subject.nodes, wanted.runtime, columns[version])
        loaded = load(subject.model, wanted.runtime, present[version]) if version in present else None
        rows.append(decided((wanted.runtime, version), Kind.PROBED, findings, loaded, subject.nodes or ()))
    return rows


def _exact(wanted: known.Wanted) -> str:
    return str(wanted.versions).removeprefix("==")


def _present(wanted: known.Wanted, here: Sequence[Interpreter]) -> dict[str, Interpreter]:
    """Return the interpreters that have the runtime in a version asked for, the first named first."""
    found: dict[str, Interpreter] = {}
    for one in here:
        version = one.runtimes.get(wanted.runtime)
        if version and wanted.versions.contains(version, prereleases=True):
            found.setdefault(version, one)
    return found


def _by_rules(subject: _Subject, runtime: str) -> list[Finding]:
    if runtime in _DEVICES:
        return openvino_devices.judge(_DEVICES[runtime], subject.openvino_nodes())
    assert subject.nodes is not None  # noqa: S101  # these take .tflite only
    return TFLITE_RULES[runtime](subject.nodes)
