"""The port every target format implements, and what its jobs have in common."""

import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from edgekit_converters import errors
from edgekit_converters._exchange import write_arrays
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.jobs import JobRunner, Json
from edgekit_converters.layout import Layout
from edgekit_converters.model import Array, Arrays, Artifact, Step
from edgekit_converters.precisions import Precision, Precisions


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildRequest:
    """What to make of a loaded model; `calibration` has the model's input names and fits them."""

    loaded: Loaded
    precisions: tuple[Precision, ...]
    output: Path
    stem: str
    work: Path
    calibration: dict[str, Array] | None
    layout: Layout
    seed: int
    float_layers: tuple[str, ...] = ()
    """Layers to leave in float whatever the precision, as `layers.choice` takes them."""
    quantized_io: bool = False
    """Inputs and outputs of a static integer precision as it stores them, instead of the source's dtypes."""

    def path(self, precision: Precision, suffix: str) -> Path:
        """Return the artifact's path."""
        return self.output / f"{self.stem}.{precision.label}{suffix}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An artifact that could not be made."""

    format: str
    precision: str
    error: errors.ConversionError


Made = tuple[Artifact | Failure, ...]


class Backend(Protocol):
    """A target format. Making one imports nothing heavy."""

    format: str
    precisions: Precisions
    """Those it has with their options, in the order they are told to people."""
    quantized_io: bool
    """Whether its static integer artifacts can have inputs and outputs of whole numbers."""
    needs_tflite: bool
    """Whether it starts from the float TFLite."""
    needs_onnx: bool
    """Whether it starts from the source as ONNX."""

    def calibrated(self, precision: Precision) -> bool:
        """Whether it needs calibration data."""
        ...

    def float_file(self, loaded: Loaded, work: Path) -> Path | None:
        """Return the float model in this format: what its artifacts are compared with, layer by layer."""
        ...

    def build(self, request: BuildRequest, jobs: JobRunner) -> Made:
        """Make an artifact a precision; one that fails does not lose the others."""
        ...


def build_with(job: Callable[[Json], Json], request: BuildRequest, *, target: str, suffix: str, common: Json) -> Made:
    """Run the job once for all precisions, and once for each if that took its process down."""
    asked = {
        **common,
        "paths": {one.text: str(request.path(one, suffix)) for one in request.precisions},
        "options": {one.text: {"name": one.name, **one.values} for one in request.precisions},
        "calibration": _calibration(request),
        "work": str(request.work),
        "seed": request.seed,
        "float_layers": list(request.float_layers),
        "quantized_io": request.quantized_io,
    }

    def run(precisions: Sequence[Precision]) -> list[Artifact | Failure]:
        try:
            answers = job({**asked, "precisions": [one.text for one in precisions]})
        except errors.JobCrashedError as exc:
            if len(precisions) > 1:
                return [made for one in precisions for made in run([one])]
            return [Failure(format=target, precision=precisions[0].text, error=exc)]
        except errors.ConversionError as exc:
            return [Failure(format=target, precision=one.text, error=exc) for one in precisions]
        return [_made(target, request.path(one, suffix), one.text, answers[one.text]) for one in precisions]

    return tuple(run(request.precisions))


def each(precisions: Sequence[str], make: Callable[[str], Json]) -> Json:
    """Inside a job: make every precision; an expected failure is an answer beside the others' steps.

    `make` returns `{"steps": [...], "warnings": [...], "weights_bytes": N, "float_weights_bytes": N,
    "float_layers": [names]}`.
    """
    answers = {}
    for one in precisions:
        try:
            answers[one] = make(one)
        except errors.ConversionError as exc:
            traceback.print_exc()  # into the run's log
            answers[one] = {"error": [type(exc).__name__, str(exc), getattr(exc, "__notes__", [])]}
    return answers


def _calibration(request: BuildRequest) -> Json:
    arrays: Arrays | None = request.calibration
    return None if arrays is None else write_arrays(request.work / "calibration.npz", arrays)


def _made(target: str, path: Path, precision: str, answer: Json) -> Artifact | Failure:
    if "error" in answer:
        kind, message, notes = answer["error"]
        error: errors.ConversionError = getattr(errors, kind)(message)
        for note in notes:
            error.add_note(note)
        return Failure(format=target, precision=precision, error=error)
    steps = tuple(Step(**step) for step in answer["steps"])
    return Artifact(
        path=path,
        format=target,
        precision=precision,
        steps=steps,
        warnings=tuple(answer["warnings"]),
        weights_bytes=answer.get("weights_bytes"),
        float_weights_bytes=answer.get("float_weights_bytes"),
        float_layers=tuple(answer.get("float_layers", ())),
    )
