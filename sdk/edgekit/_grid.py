"""`edgekit evaluate --weights-grid`: what a numeric grid does to a model's answers, simulated in float."""

from dataclasses import dataclass
from pathlib import Path

from edgekit_converters import reference
from edgekit_converters.grids.snapping import GridFigures, snapped
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class Simulated:
    """What a source model with its weights on a grid gives, and what it gives as it is: outputs [N, ...] by name."""

    figures: GridFigures
    outputs: Arrays
    source: Arrays


def simulated(model: Path, grid: str, arrays: Arrays, jobs: JobRunner, work: Path) -> Simulated:
    """Snap a source model's weights to a grid and run it on samples, beside the model itself.

    Raises:
        ConversionError: as `snapped` and `reference` do.
    """
    made = snapped(model, grid, jobs, work, arrays)
    outputs = reference(made.path, arrays, jobs, work)
    return Simulated(figures=made.figures, outputs=outputs, source=made.reference)


def said(figures: GridFigures) -> str:
    """Return the figures as one line."""
    ratio = figures.source_bytes / figures.stored_bytes
    size = f"weights of {figures.layers} layers in {figures.stored_bytes} bytes, {ratio:.1f}x smaller"
    line = f"{figures.kind} {figures.grid}: {size}"
    if figures.snr_db is None:
        return f"{line}, all of them points of the grid"
    worst = "" if figures.worst_snr_db is None else f", lowest {figures.worst_snr_db:.1f} dB in {figures.worst}"
    return f"{line}, SNR {figures.snr_db:.1f} dB{worst}"
