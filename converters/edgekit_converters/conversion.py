"""A model in, artifacts out: what ties the frontends to the backends."""

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cache, partial
from pathlib import Path

from edgekit_converters.backends import backend_for
from edgekit_converters.backends.base import Backend, Failure
from edgekit_converters.calibration import random_calibration
from edgekit_converters.compress.engine import Compressed, check_data, compress
from edgekit_converters.compress.steps import RecipeStep
from edgekit_converters.data import bind
from edgekit_converters.errors import CalibrationError, PrecisionError, UnsupportedError
from edgekit_converters.events import Event, OnEvent
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.frontends.files import is_factory
from edgekit_converters.frontends.samples import used
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layout import Layout
from edgekit_converters.model import Array, Arrays, Artifact, SourceModel
from edgekit_converters.precisions import Precision, parse
from edgekit_converters.timing import Stopwatch, timed_by
from edgekit_converters.workshop import Workshop, lowered

Wanted = tuple[tuple[str, str], ...]
"""Pairs of target format and precision."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionRequest:
    """One conversion. Arrays are [N, ...] by input name, or `x` for a model with one input."""

    model: Path
    wanted: Wanted
    output: Path
    """Folder for the artifacts; it is made when missing."""
    work: Path
    """An existing scratch folder."""
    calibration: Arrays | None = None
    random_calibration: bool = False
    """Calibrate on random data; the artifacts carry a warning."""
    reference_inputs: Arrays | None = None
    """Samples to run through the source."""
    reference_samples: int = 0
    """With no reference inputs, how many seeded random ones to run."""
    layout: str = "keep"
    """Where the channels of the artifacts' images lie: one of `layout.LAYOUTS`."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    constants: Mapping[str, float] = field(default_factory=dict)
    """Inputs to take away, by name, with the value that stands in their place."""
    through_onnx: bool = False
    """Take the way over ONNX, the canonical graph, where the source has another one too (Keras, SavedModel)."""
    float_layers: tuple[str, ...] = ()
    """Layers to leave in float whatever the precision, as `layers.choice` takes them."""
    compress: tuple[RecipeStep, ...] = ()
    """What is done to the canonical graph first, in this order."""
    labels: Arrays | None = None
    """Labels [N, ...] of the calibration samples, for steps that train."""
    kept: Path | None = None
    """A folder that outlives the run: a training that was killed goes on from what lies there."""
    quantized_io: bool = False
    """Inputs and outputs of static integer artifacts as they store them; only of targets that can."""
    seed: int = 0
    stopwatch: Stopwatch | None = field(default=None, repr=False)
    """Times artifacts, for steps with a budget of time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ConversionResult:
    """What came out; `artifacts` are in the order of `wanted`, those that failed are in `failures`."""

    source: SourceModel
    artifacts: tuple[Artifact, ...]
    failures: tuple[Failure, ...]
    reference_inputs: Arrays
    reference: Arrays
    """The source's own outputs [N, ...] on the reference inputs, by output name."""
    workshop: Workshop
    """Makes further artifacts of the same model."""
    compressed: Compressed | None = None
    """What the steps did, one by one; None without any."""
    layout: Layout = field(default_factory=Layout)
    """How the arrays of the artifacts lie beside the source's."""
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What did not get the form it could have had in TFLite, and why."""


def check_wanted(wanted: Wanted) -> Wanted:
    """Check targets and precisions without doing any work, and return them as they are written shortest.

    Raises:
        PrecisionError: if a target or precision is not there; names those that are.
    """
    if not wanted:
        raise PrecisionError("no target is asked for")
    short = tuple((target, parse(how, target, backend_for(target).precisions).text) for target, how in wanted)
    twice = [pair for pair in dict.fromkeys(short) if short.count(pair) > 1]
    if twice:
        raise PrecisionError(f"{' '.join(twice[0])} is asked for twice")
    return short


def convert(request: ConversionRequest, jobs: JobRunner, on_event: OnEvent = lambda _: None) -> ConversionResult:
    """Convert a model to every wanted target and precision.

    Args:
        request: what to convert to what.
        jobs: where the frameworks run; its log takes their noise.
        on_event: called at the start of each stage.

    Returns:
        The artifacts, with those that failed beside them.

    Raises:
        PrecisionError: if a target or precision is not there; before any work.
        ModelFileError: if the model is missing, damaged, or not what its name says.
        CalibrationError: if data is missing or does not fit.
        ConversionError: if not one artifact could be made: the first one's error.
        OSError: if the output folder cannot be made or written.
    """
    request = replace(request, wanted=check_wanted(request.wanted))
    backends = [backend_for(target) for target in dict.fromkeys(target for target, _ in request.wanted)]
    _check_calibration(request, backends)
    _check_rim(request, backends)
    check_data(
        request.compress,
        calibration=request.calibration is not None,
        labels=request.labels is not None,
        measuring=request.stopwatch is not None,
    )
    total = len(request.wanted) + 1
    on_event(Event(stage="load", detail=request.model.name, done=0, total=total))
    loaded, inputs, lost = _load(request, backends, jobs)
    made: list[Artifact | Failure] = list(lost)
    compressed = _compressed(request, loaded, inputs, jobs, on_event)
    if compressed and compressed.same_rim:
        layout = Layout(request.layout, loaded.channels_first)
        loaded = lowered(loaded, compressed.path, layout, jobs, compressed.path.parent)
    elif compressed:
        loaded, inputs = _other_rim(request, loaded, compressed, jobs)
        request = replace(request, calibration=None)
    workshop = _workshop(request, loaded, jobs)
    layout = workshop.layout
    if layout.turns and not loaded.channels_first and any(backend.needs_tflite for backend in backends):
        raise UnsupportedError(
            f"a TFLite file made of '{loaded.source.format}' has its channels last: NCHW cannot be had"
        )
    request.output.mkdir(parents=True, exist_ok=True)
    for backend in backends:
        precisions = _of(backend, request)
        if any(one.format == backend.format for one in lost):
            continue
        on_event(
            Event(
                stage=backend.format, detail=", ".join(one.text for one in precisions), done=1 + len(made), total=total
            )
        )
        made += workshop.make(backend, precisions)
    return replace(_result(request, workshop, inputs, made), compressed=compressed)


def describe(model: Path, jobs: JobRunner, shapes: Mapping[str, tuple[int, ...]] | None = None) -> SourceModel:
    """Return what a source model is.

    Raises:
        ModelFileError: if it is missing, damaged, or not what its name says.
        UnsupportedError: if it needs code to be run, or its format's way in lacks an op.
        ConverterMissingError: if the format's library is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="edgekit-") as work:
        return frontend_for(model).load(LoadRequest(model=model, work=Path(work), shapes=shapes or {}), jobs).source


def reference(model: Path, arrays: Arrays, jobs: JobRunner, work: Path) -> Arrays:
    """Return the source model's own outputs [N, ...] by name.

    Raises:
        ModelFileError: if it is missing, damaged, or not what its name says.
        CalibrationError: if the arrays do not fit its inputs.
        ConverterMissingError: if the format's library is not installed.
    """
    return frontend_for(model).load(LoadRequest(model=model, work=work, reference_inputs=arrays), jobs).reference


def stem_of(model: Path) -> str:
    """Return what artifacts are named after: the file's name without its suffix, the folder's or the factory's name."""
    if is_factory(model):
        return str(model).rpartition(":")[2]
    path = model.resolve()
    return path.name if path.is_dir() else path.stem


def _check_calibration(request: ConversionRequest, backends: Sequence[Backend]) -> None:
    if request.calibration is not None or request.random_calibration:
        return
    for backend in backends:
        for precision in filter(backend.calibrated, _of(backend, request)):
            error = CalibrationError(f"{backend.format} {precision.text} needs calibration data")
            error.add_note("give --calib DATA, or --calib random to try it on random data (the report says so)")
            raise error


def _check_rim(request: ConversionRequest, backends: Sequence[Backend]) -> None:
    if request.quantized_io and not any(backend.quantized_io for backend in backends):
        raise PrecisionError(f"{backends[0].format} keeps inputs and outputs in the source's dtypes")


def _of(backend: Backend, request: ConversionRequest) -> tuple[Precision, ...]:
    return tuple(parse(how, one, backend.precisions) for one, how in request.wanted if one == backend.format)


def _load(
    request: ConversionRequest, backends: Sequence[Backend], jobs: JobRunner
) -> tuple[Loaded, Arrays, tuple[Failure, ...]]:
    frontend = frontend_for(request.model)
    if request.constants and not frontend.takes_constants:
        name = next(iter(request.constants))
        raise UnsupportedError(
            f"model '{request.model.name}': input '{name}' cannot be fixed to a value; only an ONNX model's can"
        )
    asked = LoadRequest(
        model=request.model,
        work=request.work,
        shapes=request.shapes,
        constants=request.constants,
        reference_inputs=request.reference_inputs,
        reference_samples=request.reference_samples,
        seed=request.seed,
        want_tflite=any(backend.needs_tflite for backend in backends),
        layout=request.layout,
        through_onnx=request.through_onnx or bool(request.compress) or all(backend.needs_onnx for backend in backends),
    )
    lost: tuple[Failure, ...] = ()
    try:
        loaded = frontend.load(asked, jobs)
    except UnsupportedError as exc:
        if not asked.want_tflite or all(backend.needs_tflite for backend in backends):
            raise
        # The source may still reach the targets that do not start from TFLite.
        loaded = frontend.load(replace(asked, want_tflite=False), jobs)
        needing = {backend.format for backend in backends if backend.needs_tflite}
        lost = tuple(Failure(format=one, precision=how, error=exc) for one, how in request.wanted if one in needing)
    return loaded, used(asked, loaded.source.inputs), lost


def _compressed(
    request: ConversionRequest, loaded: Loaded, samples: Arrays, jobs: JobRunner, on_event: OnEvent
) -> Compressed | None:
    """Carry out the steps on the canonical graph; None without any."""
    if not request.compress:
        return None
    if loaded.onnx is None:
        raise UnsupportedError(
            f"a model that comes as {loaded.source.format} has no canonical graph: techniques need ONNX, PyTorch, Keras"
            " or a SavedModel"
        )
    inputs = loaded.source.inputs
    work = request.work / "compress"
    work.mkdir()
    targets = tuple(dict.fromkeys(target for target, _ in request.wanted))
    shop = replace(_workshop(request, loaded, jobs), work=work)
    return compress(
        loaded.onnx,
        request.compress,
        jobs,
        work,
        calibration=None if request.calibration is None else bind(request.calibration, inputs, "calibration data"),
        labels=request.labels,
        targets=targets,
        seed=request.seed,
        kept=request.kept,
        timed=timed_by(request.stopwatch, shop, targets, samples) if request.stopwatch else None,
        on_event=on_event,
    )


def _other_rim(request: ConversionRequest, loaded: Loaded, made: Compressed, jobs: JobRunner) -> tuple[Loaded, Arrays]:
    """Load a model whose steps gave it other inputs or outputs: it is a source of its own, run on seeded samples.

    Raises:
        CalibrationError: if a precision is to be calibrated, or samples are given to be judged on.
    """
    backends = {target: backend_for(target) for target, _ in request.wanted}
    step = made.stages[-1].step.text
    for target, how in request.wanted:
        if backends[target].calibrated(parse(how, target, backends[target].precisions)):
            raise CalibrationError(
                f"{step} gives the model other inputs: {target} {how} cannot be calibrated on the data"
            )
    if request.reference_inputs is not None and request.reference_inputs is not request.calibration:
        raise CalibrationError(f"{step} gives the model other inputs: it cannot be judged on the data")
    asked = LoadRequest(
        model=made.path,
        work=request.work / "compress",
        reference_samples=request.reference_samples,
        seed=request.seed,
        want_tflite=loaded.float_tflite is not None,
        layout=request.layout,
    )
    found = frontend_for(made.path).load(asked, jobs)
    source = replace(loaded.source, inputs=found.source.inputs, outputs=found.source.outputs)
    return replace(found, source=source), used(asked, source.inputs)


def _workshop(request: ConversionRequest, loaded: Loaded, jobs: JobRunner) -> Workshop:
    return Workshop(
        loaded=loaded,
        stem=stem_of(request.model),
        output=request.output,
        work=request.work,
        calibration=_calibration(request, loaded),
        random=request.calibration is None,
        layout=Layout(request.layout, loaded.channels_first),
        float_layers=request.float_layers,
        quantized_io=request.quantized_io,
        seed=request.seed,
        over_onnx=cache(partial(_over_onnx, request, jobs)),
        jobs=jobs,
    )


def _over_onnx(request: ConversionRequest, jobs: JobRunner) -> Loaded:
    work = request.work / "over-onnx"
    work.mkdir(exist_ok=True)
    asked = LoadRequest(
        model=request.model, work=work, shapes=request.shapes, constants=request.constants, through_onnx=True
    )
    return frontend_for(request.model).load(asked, jobs)


def _calibration(request: ConversionRequest, loaded: Loaded) -> dict[str, Array] | None:
    inputs = loaded.source.inputs
    if request.calibration is not None:
        return bind(request.calibration, inputs, "calibration data")
    return random_calibration(inputs, request.seed) if request.random_calibration else None


def _result(
    request: ConversionRequest, workshop: Workshop, inputs: Arrays, made: Sequence[Artifact | Failure]
) -> ConversionResult:
    loaded = workshop.loaded
    place = {pair: at for at, pair in enumerate(request.wanted)}
    ordered = sorted(made, key=lambda one: place[one.format, one.precision])
    artifacts = tuple(one for one in ordered if isinstance(one, Artifact))
    failures = tuple(one for one in ordered if isinstance(one, Failure))
    if not artifacts:
        first = failures[0].error
        for other in failures[1:]:
            if str(other.error) != str(first):
                first.add_note(f"{other.format} {other.precision} failed too: {other.error}")
        raise first
    return ConversionResult(
        source=loaded.source,
        artifacts=artifacts,
        failures=failures,
        reference_inputs=inputs,
        reference=loaded.reference,
        workshop=workshop,
        layout=workshop.layout,
        warnings=loaded.warnings,
        notes=loaded.notes,
    )
