"""The report of a run, schema 1: one value for `report.json` and `report.html`."""

import dataclasses
import hashlib
import json
import math
import os
import platform
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

from edgekit._metrics import Accuracy, Agreement
from edgekit_agent import __version__
from edgekit_converters.compress.base import Change, Left
from edgekit_converters.model import SourceModel, Step

SCHEMA = 1
SLOWER = 0.97
"""A speed-up below this is slower than float: nearer to 1 it may be noise."""
_PACKAGES = (
    "ai-edge-litert", "ai-edge-quantizer", "jax", "litert-converter", "nncf", "numpy", "onnx", "onnxruntime",
    "onnxscript", "openvino", "tensorflow", "tf-keras", "tf2onnx", "tflite-runtime", "torch",
)  # fmt: skip


def environment() -> dict[str, object]:
    """Return what the figures depend on: CPU, cores, Python, package versions."""
    packages = {}
    for name in _PACKAGES:
        try:
            packages[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "cpu": _cpu(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.platform(),
        "packages": packages,
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        name, _, value = line.partition(":")
        if name.strip() in {"model name", "Model", "Hardware"}:
            return value.strip()
    return platform.processor() or platform.machine()


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Latency of one inference in milliseconds; `speedup` is against the float model on the same runtime and run."""

    kind: str = "measured"
    runtime: str
    runtime_version: str
    device: str
    threads: int
    runs: int
    p50_ms: float
    p90_ms: float
    p99_ms: float
    source_p50_ms: float | None = None
    speedup: float | None = None
    quantiles_ms: tuple[float, ...] = ()
    """The 0th to the 100th percentile in steps of one: the whole distribution, to be drawn."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Memory of the measuring process: `peak_bytes` is its largest resident size with this model loaded."""

    peak_bytes: int | None = None
    arena_bytes: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class LayerDamage:
    """What quantizing one layer costs: `damage` is the error it alone causes at the outputs, as a share of their RMS.

    `name` is the layer as the source calls it; `kept_float` whether the artifact computes it in float.
    """

    name: str
    op: str
    damage: float | None
    own_error: float | None
    kept_float: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One model the search made: how many layers in float, its score, and how long making and scoring it took."""

    precision: str
    float_layers: tuple[str, ...]
    score: float | None
    drop: float | None
    size_bytes: int | None
    seconds: float
    passed: bool
    why: str = ""
    """What the search tried it for, in a few words."""
    too_much: bool = False
    """Whether so much of it is in float that its weights are hardly smaller than float's: it cannot pass."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """How the layers left in float were found; `ended` is found, budget (time is over) or exhausted."""

    trials: tuple[Trial, ...]
    seconds: float
    ended: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Rim:
    """An input or output as the artifact stores it: real = (stored - zero_point) * scale; no scale for real values."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    scale: tuple[float, ...] = ()
    zero_point: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactReport:
    """One candidate: `status` is ok, rejected (a gate was not met) or failed (it could not be made or run)."""

    path: str | None
    format: str
    precision: str
    size_bytes: int | None = None
    sha256: str | None = None
    status: str = "ok"
    reason: str | None = None
    agreement: Agreement | None = None
    accuracy: Accuracy | None = None
    latency: Latency | None = None
    memory: Memory = field(default_factory=Memory)
    weights_bytes: int | None = None
    chosen: bool = False
    """Whether `auto` takes it: the fastest of its format that passes the gate and is not slower than float."""
    inputs: tuple[Rim, ...] = ()
    outputs: tuple[Rim, ...] = ()
    float_layers: tuple[Mapping[str, str], ...] = ()
    layers: tuple[LayerDamage, ...] = ()
    """The layers with the most damage first; empty where they were not looked at."""
    search: Search | None = None
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFigures:
    """A state of a model while it is compressed, in float; what is by target has the target's name as its key."""

    parameters: int
    macs: int
    """Of one sample."""
    nodes: int
    bytes: Mapping[str, int] = field(default_factory=dict)
    p50_ms: Mapping[str, float] = field(default_factory=dict)
    """Measured in turns with all other states of the model."""
    peak_bytes: Mapping[str, int] = field(default_factory=dict)
    """The largest resident size of the process that ran it."""
    accuracy: Accuracy | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CompressionStep:
    """A step of a recipe, what it changed and what it left, and the model before and after it."""

    technique: str
    text: str
    """The step as it is written in a recipe."""
    exact: bool
    """Whether its outputs were proved to stay what they were."""
    before: StepFigures
    after: StepFigures
    changes: tuple[Change, ...] = ()
    left: tuple[Left, ...] = ()
    figures: Mapping[str, Any] = field(default_factory=dict)
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """Everything a run found out."""

    source: SourceModel
    seed: int
    artifacts: tuple[ArtifactReport, ...]
    data: Mapping[str, Any] = field(default_factory=dict)
    """What it was calibrated and judged on: `calib`, `eval`, `metric`, `max_drop`."""
    compression: tuple[CompressionStep, ...] = ()
    """What was done to the graph first, step by step."""
    preprocess: Mapping[str, Any] = field(default_factory=dict)
    """How an image or sound becomes an input; empty where the data was ready."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """Rules that did not apply, and why."""
    environment: Mapping[str, object] = field(default_factory=environment)

    def to_json(self) -> dict[str, object]:
        """Return the document of schema 1; figures that are not finite are null."""
        body = plain(dataclasses.asdict(self))
        source = body["source"]
        steps = [
            {**artifact, "steps": [{"pass": step.pop("name"), **step} for step in artifact["steps"]]}
            for artifact in body["artifacts"]
        ]
        return {
            "schema": SCHEMA,
            "edgekit": __version__,
            "source": source,
            "environment": body["environment"],
            "seed": self.seed,
            "data": body["data"],
            "preprocess": body["preprocess"],
            "compression": body["compression"],
            "artifacts": steps,
            "warnings": body["warnings"],
            "notes": body["notes"],
        }

    def to_text(self) -> str:
        """Return the document as indented JSON with a final newline."""
        return json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n"


def plain(value: Any) -> Any:  # noqa: ANN401  # any dataclass tree to JSON values
    """Return a tree of values as JSON has them: figures that are not finite are null."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    if isinstance(value, tuple | list):
        return [plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def sha256(path: Path) -> str:
    """Return a file's digest as hexadecimal SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
