"""`edgekit evaluate --weights-grid`: what a numeric grid does to a model's answers, simulated in float."""

from pathlib import Path

from edgekit_converters import reference
from edgekit_converters.grids.snapping import GridFigures, snapped
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays


def simulated(model: Path, grid: str, arrays: Arrays, jobs: JobRunner, work: Path) -> tuple[GridFigures, Arrays]:
    """Snap a source model's weights to a grid and run it on samples; return the figures and the outputs [N, ...].

    Raises:
        ConversionError: as `snapped` and `reference` do.
    """
    path, figures = snapped(model, grid, jobs, work)
    return figures, reference(path, arrays, jobs, work)


def said(figures: GridFigures) -> str:
    """Return the figures as one line."""
    ratio = figures.source_bytes / figures.stored_bytes
    size = f"weights of {figures.layers} layers in {figures.stored_bytes} bytes, {ratio:.1f}x smaller"
    line = f"{figures.kind} {figures.grid}: {size}"
    if figures.snr_db is None:
        return f"{line}, all of them points of the grid"
    worst = "" if figures.worst_snr_db is None else f", lowest {figures.worst_snr_db:.1f} dB in {figures.worst}"
    return f"{line}, SNR {figures.snr_db:.1f} dB{worst}"
