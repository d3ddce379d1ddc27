"""A model with its weights snapped to a grid: what the numbers do to it, whatever a target can store."""

from dataclasses import dataclass
from pathlib import Path

from edgekit_converters.errors import UnsupportedError
from edgekit_converters.frontends import frontend_for
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.grids import parse_grid
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays


@dataclass(frozen=True, slots=True, kw_only=True)
class GridFigures:
    """What a grid does to a model's weights; nothing of it says how fast anything is.

    `stored_bytes` is what the snapped weights take as codes and tables, `source_bytes` what they take in the source's
    dtype, `rest_bytes` what the other parameters (biases, norms) take.
    """

    kind: str = "numeric-sim"
    grid: str
    """As it is written shortest."""
    layers: int
    stored_bytes: int
    source_bytes: int
    rest_bytes: int
    snr_db: float | None
    """Of all snapped weights; None where the grid changes none of them."""
    worst: str
    """The layer with the lowest SNR."""
    worst_snr_db: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapped:
    """An ONNX file that computes in float with a grid's values as weights; `reference` are the source's outputs."""

    path: Path
    figures: GridFigures
    reference: Arrays


def snapped(model: Path, grid: str, jobs: JobRunner, work: Path, arrays: Arrays | None = None) -> Snapped:
    """Snap the weights of a source model's convolutions, matrix products, recurrent layers and embeddings.

    Args:
        model: a source that has a canonical graph: all but TFLite and OpenVINO IR.
        grid: as `parse_grid` takes it.
        jobs: where frameworks run.
        work: an existing scratch folder; the file is written there.
        arrays: samples to run the source on, as `data.bind` takes them.

    Raises:
        PrecisionError: if there is no such grid, before any work.
        ModelFileError: if the model is missing or damaged.
        CalibrationError: if the samples do not fit its inputs.
        UnsupportedError: if it has no ONNX form, no weights to snap, or some that are no numbers.
    """
    asked = parse_grid(grid)
    asked_of_source = LoadRequest(model=model, work=work, through_onnx=True, reference_inputs=arrays)
    loaded = frontend_for(model).load(asked_of_source, jobs)
    if loaded.onnx is None:
        raise UnsupportedError(f"model '{model.name}': a {loaded.source.format} source has no ONNX form to snap")
    path = work / f"{model.stem}.{asked.label}.onnx"
    figures = jobs.run(
        "edgekit_converters.grids.snapping_job",
        {"model": str(loaded.onnx), "label": model.name, "grid": asked.text, "output": str(path)},
    )
    return Snapped(path=path, figures=GridFigures(grid=asked.text, **figures), reference=loaded.reference)
