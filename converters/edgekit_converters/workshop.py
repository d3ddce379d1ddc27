"""A loaded model and what artifacts are made of it with: also again later, with other layers in float."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit_converters.backends import backend_for
from edgekit_converters.backends.base import Backend, BuildRequest, Failure
from edgekit_converters.errors import ConversionError, UnsupportedError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import Loaded, LoadRequest
from edgekit_converters.graph.easing import Eased, ease
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layout import Layout
from edgekit_converters.model import Array, Artifact, Step
from edgekit_converters.precisions import Precision, parse

FLOAT = "fp32"
RANDOM_WARNING = "calibrated on random data: its accuracy says nothing"
FLOAT_RIM_WARNING = "inputs and outputs keep the source's dtypes: this target has no others"


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Makes artifacts of one model; what was worked out for one (ranges, an int8 model) is kept in `work` for the next.

    `calibration` are samples [N, ...] by input name, None where there are none.
    """

    loaded: Loaded
    stem: str
    output: Path
    work: Path
    calibration: Mapping[str, Array] | None
    random: bool
    """Whether the calibration data is."""
    layout: Layout
    float_layers: tuple[str, ...]
    quantized_io: bool
    seed: int
    over_onnx: Callable[[], Loaded]
    """Loads the model again (once), over ONNX: its canonical graph, where it was not loaded that way."""
    jobs: JobRunner = field(repr=False)
    easing: tuple[Step, ...] = ()
    """What was done to the float graph before, whatever the target."""
    _easier: dict[tuple[bool, bool], tuple[Eased, Loaded, Path]] = field(default_factory=dict, repr=False)

    def make(self, backend: Backend, precisions: Sequence[Precision]) -> tuple[Artifact | Failure, ...]:
        """Make an artifact a precision in the folder `output`; one that fails does not lose the others."""
        made: list[Artifact | Failure] = []
        for wanted in dict.fromkeys(map(_easing, precisions)):
            mine = [one for one in precisions if _easing(one) == wanted]
            try:
                made += self._eased(*wanted)._made(backend, mine)  # noqa: SLF001  # its own kind
            except ConversionError as exc:
                made += [Failure(format=backend.format, precision=one.text, error=exc) for one in mine]
        return tuple(made)

    def _made(self, backend: Backend, precisions: Sequence[Precision]) -> list[Artifact | Failure]:
        loaded = self.loaded
        if backend.needs_onnx and loaded.onnx is None:
            loaded = replace(loaded, onnx=self.over_onnx().onnx)
        asked = BuildRequest(
            loaded=loaded,
            precisions=tuple(precisions),
            output=self.output,
            stem=self.stem,
            work=self.work,
            calibration=dict(self.calibration or {}) if any(map(backend.calibrated, precisions)) else None,
            layout=self.layout,
            seed=self.seed,
            float_layers=self.float_layers,
            quantized_io=self.quantized_io,
        )
        return [self._completed(one, backend) for one in backend.build(asked, self.jobs)]

    def again(self, target: str, precision: str, float_layers: Sequence[str], output: Path) -> Artifact:
        """Make one artifact in another folder, with other layers in float than the user's alone.

        Raises:
            ConversionError: if it cannot be made.
        """
        backend = backend_for(target)
        output.mkdir(parents=True, exist_ok=True)
        other = replace(self, output=output, float_layers=(*self.float_layers, *float_layers))
        (made,) = other.make(backend, [parse(precision, target, backend.precisions)])
        if isinstance(made, Failure):
            raise made.error
        return made

    def _eased(self, equalize: bool, correct: bool) -> "Workshop":  # as `_easing` gives them
        """Return one for the same model made easier to quantize; itself where nothing is asked for."""
        if not (equalize or correct):
            return self
        if (equalize, correct) not in self._easier:
            onnx = self.loaded.onnx or self.over_onnx().onnx
            if onnx is None:
                raise UnsupportedError(
                    f"a model that comes as {self.loaded.source.format} has no graph to equalize or correct"
                )
            work = self.work / f"eased-{equalize:d}{correct:d}"
            work.mkdir(exist_ok=True)  # an earlier try may have failed in it
            made = ease(onnx, self.calibration, self.jobs, work, equalize=equalize, correct=correct)
            eased = lowered(self.loaded, made.path, self.layout, self.jobs, work)
            self._easier[equalize, correct] = made, eased, work
        made, loaded, work = self._easier[equalize, correct]
        return replace(self, loaded=loaded, work=work, easing=made.steps)

    def of(self, path: Path, work: Path) -> "Workshop":
        """Return one for another ONNX file in the source's names and layout; `work` is a scratch folder of its own.

        Raises:
            UnsupportedError: if an op of it cannot be had.
        """
        work.mkdir(exist_ok=True)
        loaded = lowered(self.loaded, path, self.layout, self.jobs, work)
        return replace(self, loaded=loaded, work=work, output=work / "models", over_onnx=lambda: loaded, _easier={})

    def floats(self, targets: Sequence[str]) -> dict[str, Artifact | Failure]:
        """Return the model in float by target."""
        self.output.mkdir(exist_ok=True)
        found = {}
        for target in targets:
            backend = backend_for(target)
            (found[target],) = self.make(backend, [parse(FLOAT, target, backend.precisions)])
        return found

    def float_file(self, target: str, precision: str = FLOAT) -> Path:
        """Return the float model in the target's format that artifacts of a precision are made of.

        Raises:
            ConversionError: if there is none.
        """
        backend = backend_for(target)
        shop = self._eased(*_easing(parse(precision, target, backend.precisions)))
        found = backend.float_file(shop.loaded, shop.work)
        if found is None or not found.exists():
            raise ConversionError(f"there is no float {target} file to compare with")
        return found

    def _completed(self, made: Artifact | Failure, backend: Backend) -> Artifact | Failure:
        if isinstance(made, Failure):
            return made
        over_tflite = not backend.needs_onnx and self.loaded.openvino_input == self.loaded.float_tflite
        calibrated = backend.calibrated(parse(made.precision, backend.format, backend.precisions))
        return replace(
            made,
            steps=(*self.easing, *(self.loaded.steps if backend.needs_tflite or over_tflite else ()), *made.steps),
            warnings=(
                *made.warnings,
                *([RANDOM_WARNING] if self.random and calibrated else ()),
                *([FLOAT_RIM_WARNING] if self.quantized_io and calibrated and not backend.quantized_io else ()),
            ),
        )


def _easing(precision: Precision) -> tuple[bool, bool]:
    """Return what a precision wants done to the float graph before: (equalize, correct)."""
    return bool(precision.values.get("equalize")), bool(precision.values.get("correct"))


def lowered(source: Loaded, path: Path, layout: Layout, jobs: JobRunner, work: Path) -> Loaded:
    """Load an ONNX file in a source's place, in its names and layout; its reference outputs stay the source's."""
    asked = LoadRequest(
        model=path,
        work=work,
        want_tflite=source.float_tflite is not None,
        layout=layout.wanted if source.channels_first else "keep",
    )
    loaded = frontend_for(path).load(asked, jobs)
    return replace(
        loaded,
        source=source.source,
        reference=source.reference,
        channels_first=source.channels_first,
        steps=(*(one for one in source.steps if one.name not in {two.name for two in loaded.steps}), *loaded.steps),
    )
