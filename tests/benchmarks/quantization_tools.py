"""The tools the quantization benchmark holds side by side: each makes one int8 file in processes of its own.

EdgeKit is run as people run it. The others are told what their guides tell, and nothing more: `plain_tflite.py`,
`plain_nncf.py`, `plain_olive.py`. Olive runs where `EDGEKIT_OLIVE_PYTHON` names an interpreter that has it
(`pip install olive-ai requests onnxruntime openvino nncf torch`).
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgekit._options import TARGETS
from edgekit_converters.errors import ConversionError
from edgekit_converters.jobs import JobRunner
from tests.benchmarks.lanes import NotHereError

ROOT = Path(__file__).resolve().parents[2]
FACTORIES = ROOT / "tests" / "converters"
"""Where `real_torch_nets:...` is found."""
OURS = "EdgeKit"


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """A model with its calibration data on the disk; `onnx` and `tflite` are its float forms for tools that need one.

    `kind` is what the model comes as: keras, saved_model, torch or onnx.
    """

    model: str
    kind: str
    folder: Path
    calibration: Path
    onnx: Path | None = None
    tflite: Path | None = None
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    transformer: bool = False

    @property
    def jobs(self) -> JobRunner:
        """Return what runs jobs that may import the project and the factories."""
        return _runner(self.folder, sys.executable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Made:
    """What a tool made, and in how many seconds from the start of its process to its end."""

    path: Path
    seconds: float
    answer: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tool:
    """A tool; `make` leaves its file in a folder of its own."""

    name: str
    runtime: str
    make: Callable[[Work, Path], Made]


def edgekit(work: Work, folder: Path, target: str, *arguments: str) -> Made:
    """Run `edgekit convert` for one precision; the answer is its report.

    Raises:
        NotHereError: it failed, with what it said.
    """
    command = [str(Path(sys.executable).with_name("edgekit")), "convert", work.model, "--to", target]
    shapes = [part for name, one in work.shapes.items() for part in ("--shape", f"{name}={'x'.join(map(str, one))}")]
    command += [*shapes, *arguments, "--no-bench", "--progress", "off", "-o", str(folder / "out")]
    start = time.perf_counter()
    where = FACTORIES if work.kind == "torch" else ROOT
    ended = subprocess.run(command, cwd=where, capture_output=True, text=True, check=False, env=_environment())
    seconds = time.perf_counter() - start
    report = folder / "out" / "report.json"
    if not report.exists():
        raise NotHereError(f"it ended with {ended.returncode}: {(ended.stderr.strip().splitlines() or [''])[-1]}")
    answer = json.loads(report.read_text())
    failed = [one["reason"] for one in answer["artifacts"] if one["status"] == "failed"]
    if failed:
        raise NotHereError(str(failed[0]))
    for rejected in (folder / "out" / "models").glob("*.rejected"):  # to be judged none the less
        rejected.rename(rejected.with_suffix(""))
    path = folder / "out" / answer["artifacts"][-1]["path"].removesuffix(".rejected")
    return Made(path=path, seconds=seconds, answer=answer)


def _edgekit(target: str) -> Tool:
    def make(work: Work, folder: Path) -> Made:
        return edgekit(work, folder, target, "--precision", "int8", "--calib", str(work.calibration))

    return Tool(OURS, target, make)


def _tensorflow(work: Work, folder: Path) -> Made:
    if work.kind not in {"keras", "saved_model"}:
        raise NotHereError(f"TFLiteConverter takes no model from {work.kind}")
    request = {"tool": "tensorflow", "model": work.model, "output": str(folder / "int8.tflite")}
    return _job(work.jobs, "plain_tflite", work, request)


def _ai_edge_quantizer(work: Work, folder: Path) -> Made:
    request = {"tool": "ai-edge-quantizer", "model": str(work.tflite), "output": str(folder / "int8.tflite")}
    return _job(work.jobs, "plain_tflite", work, request)


def nncf(work: Work, folder: Path, **more: object) -> Made:
    """Run NNCF, `more` being what its job takes besides."""
    request = {"model": work.model, "kind": work.kind, "output": str(folder / "int8.xml"), "shapes": dict(work.shapes)}
    return _job(work.jobs, "plain_nncf", work, {**request, **more})


def _nncf_transformer(work: Work, folder: Path) -> Made:
    return nncf(work, folder, model_type="transformer")


def _olive(target: str) -> Tool:
    def make(work: Work, folder: Path) -> Made:
        python = os.environ.get("EDGEKIT_OLIVE_PYTHON")
        if not python:
            raise NotHereError("EDGEKIT_OLIVE_PYTHON names no interpreter that has it")
        request = {"to": target, "model": str(work.onnx), "output": str(folder)}
        return _job(_runner(work.folder, python), "plain_olive", work, request)

    return Tool("Olive", target, make)


def tools(work: Work) -> Sequence[Tool]:
    """Return the tools for a model, EdgeKit first."""
    ours = [_edgekit(target) for target in TARGETS]
    more = [Tool("NNCF, model_type=transformer", "openvino", _nncf_transformer)] if work.transformer else []
    return (
        *ours,
        Tool("TFLiteConverter", "tflite", _tensorflow),
        Tool("ai-edge-quantizer", "tflite", _ai_edge_quantizer),
        Tool("NNCF", "openvino", nncf),
        *more,
        _olive("openvino"),
        _olive("onnx"),
    )


def _job(jobs: JobRunner, name: str, work: Work, request: Mapping[str, object]) -> Made:
    start = time.perf_counter()
    try:
        answer = jobs.run(f"tests.benchmarks.{name}", {"calibration": str(work.calibration), **request})
    except (ConversionError, RuntimeError) as exc:
        raise NotHereError((str(exc).strip().splitlines() or [type(exc).__name__])[0]) from exc
    return Made(path=Path(answer["path"]), seconds=time.perf_counter() - start, answer=answer)


def _runner(folder: Path, python: str) -> JobRunner:
    return JobRunner(log=folder / "tools.log", python=python, environment=_environment())


def _environment() -> dict[str, str]:
    """Let children import this source tree, whatever is installed."""
    places = [ROOT, ROOT / "sdk", ROOT / "agent", ROOT / "converters", FACTORIES]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, places))}
