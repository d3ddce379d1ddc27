"""A float model made easier to quantize: norms folded, channels equalized, biases corrected beforehand."""

from dataclasses import dataclass
from pathlib import Path

from edgekit_converters._exchange import write_arrays
from edgekit_converters.jobs import JobRunner
from edgekit_converters.model import Arrays, Step

WEIGHTS_GRID = "linear:bits=8"
"""What static int8 stores weights on: symmetric, a scale a channel."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Eased:
    """An ONNX file with the source's names, what was done, and what was left and why."""

    path: Path
    steps: tuple[Step, ...]
    notes: tuple[str, ...]


def ease(  # noqa: PLR0913  # the two passes and what they work on
    model: Path,
    calibration: Arrays | None,
    jobs: JobRunner,
    work: Path,
    *,
    equalize: bool = False,
    correct: bool = False,
    grid: str = WEIGHTS_GRID,
) -> Eased:
    """Prepare a canonical ONNX file for static quantization.

    Args:
        model: the canonical graph, as `Loaded.onnx`.
        calibration: samples that fit its inputs; equalization goes by the weights alone without any.
        jobs: where it is done.
        work: an existing scratch folder; the file is written there.
        equalize: scale channels between layers; the outputs stay what they are.
        correct: change biases by what weights on `grid` will shift them; the float outputs change a little.
        grid: as `grids.parse_grid` takes it.

    Raises:
        PrecisionError: if there is no such grid.
        ModelFileError: if the file is damaged.
        CalibrationError: if the samples do not fit or the model stops on them, or biases are to be corrected without.
        UnsupportedError: if what came out is not what went in.
    """
    done = "-".join(name for name, wanted in (("equalized", equalize), ("corrected", correct)) if wanted)
    path = work / f"{model.stem}.{done or 'plain'}.onnx"
    answer = jobs.run(
        "edgekit_converters.graph.easing_job",
        {
            "model": str(model),
            "output": str(path),
            "work": str(work),
            "calibration": write_arrays(work / "easing.npz", calibration) if calibration else None,
            "equalize": equalize,
            "correct": correct,
            "grid": grid,
        },
    )
    return Eased(path=path, steps=tuple(Step(**one) for one in answer["steps"]), notes=tuple(answer["notes"]))
