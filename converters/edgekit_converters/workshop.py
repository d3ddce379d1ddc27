"""A loaded model and what artifacts are made of it with: also again later, with other layers in float."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from edgekit_converters.backends import backend_for
from edgekit_converters.backends.base import Backend, BuildRequest, Failure
from edgekit_converters.errors import ConversionError
from edgekit_converters.frontends.base import Loaded
from edgekit_converters.jobs import JobRunner
from edgekit_converters.layout import Layout
from edgekit_converters.model import Array, Artifact
from edgekit_converters.precisions import Precision, parse

RANDOM_WARNING = "calibrated on random data: its accuracy says nothing"


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
    jobs: JobRunner = field(repr=False)

    def make(self, backend: Backend, precisions: Sequence[Precision]) -> tuple[Artifact | Failure, ...]:
        """Make an artifact a precision in the folder `output`; one that fails does not lose the others."""
        asked = BuildRequest(
            loaded=self.loaded,
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
        return tuple(self._completed(one, backend) for one in backend.build(asked, self.jobs))

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

    def float_file(self, target: str) -> Path:
        """Return the float model in the target's format, to hold artifacts against.

        Raises:
            ConversionError: if there is none.
        """
        found = backend_for(target).float_file(self.loaded, self.work)
        if found is None or not found.exists():
            raise ConversionError(f"there is no float {target} file to compare with")
        return found

    def _completed(self, made: Artifact | Failure, backend: Backend) -> Artifact | Failure:
        if isinstance(made, Failure):
            return made
        from_tflite = backend.needs_tflite or self.loaded.openvino_input == self.loaded.float_tflite
        calibrated = backend.calibrated(parse(made.precision, backend.format, backend.precisions))
        return replace(
            made,
            steps=(*(self.loaded.steps if from_tflite else ()), *made.steps),
            warnings=(*made.warnings, RANDOM_WARNING) if self.random and calibrated else made.warnings,
        )
