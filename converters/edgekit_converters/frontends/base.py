"""The port every input format implements."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays, SourceModel, Step


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadRequest:
    """What to get out of a source model, all in one go: starting its framework takes seconds."""

    model: Path
    work: Path
    """An existing scratch folder of this run."""
    shapes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)
    """Fixed shapes by input name, for inputs with free dimensions."""
    constants: Mapping[str, float] = field(default_factory=dict)
    """Values by the names of inputs that are no inputs any more: every element has the value."""
    reference_inputs: Arrays | None = None
    """Samples to run through the source (names as `data.bind` takes them)."""
    reference_samples: int = 0
    """With no reference inputs, how many seeded random samples to run."""
    seed: int = 0
    want_tflite: bool = False
    layout: str = "keep"
    """Where the channels of the float TFLite's images lie: one of `layout.LAYOUTS`."""
    through_onnx: bool = False
    """Take the way over ONNX, the canonical graph, where the source has another one too: fills `Loaded.onnx`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Loaded:
    """A described source, with what was asked for."""

    source: SourceModel
    reference: Arrays
    """The source's outputs [N, ...] on the reference inputs, by output name; empty without inputs."""
    float_tflite: Path | None
    """The lossless TFLite form, with a signature `serving_default` in the source's names and order."""
    openvino_input: Path
    """The file `openvino.convert_model` reads: the ONNX or IR itself, or the float TFLite."""
    channels_first: bool = False
    """Whether images have their channels behind the batch, as in ONNX."""
    onnx: Path | None = None
    """The source as ONNX, in its own names and order: where graph techniques begin; None where it has no such form."""
    steps: tuple[Step, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    """What did not get the form it could have had in TFLite, and why."""


class Frontend(Protocol):
    """An input format."""

    format: str
    takes_constants: bool
    """Whether it can fix an input to a value."""

    def load(self, request: LoadRequest, jobs: JobRunner) -> Loaded:
        """Describe the model and make what was asked.

        Raises:
            ModelFileError: if the file is missing, truncated, or not what its name says.
            UnsupportedError: if the float TFLite was asked for and an op cannot be had (names op and node).
            CalibrationError: if the reference inputs do not fit.
            ConverterMissingError: if the format's library is not installed.
        """
        ...
