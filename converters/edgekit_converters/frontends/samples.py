"""What a source is run on: the user's samples, or seeded random ones that its job makes once it knows the inputs."""

from collections.abc import Sequence
from pathlib import Path

from edgekit_converters._exchange import read_arrays, write_arrays
from edgekit_converters.calibration import FREE, random_calibration
from edgekit_converters.data import bind
from edgekit_converters.frontends.base import LoadRequest
from edgekit_converters.jobs import Json
from edgekit_converters.model import Array, TensorSpec


def asked(request: LoadRequest) -> Json:
    """Return what a job is told of the samples."""
    given = request.reference_inputs
    return {
        "given": write_arrays(request.work / "inputs.npz", given) if given else None,
        "random": 0 if given else request.reference_samples,
        "seed": request.seed,
        "made": str(request.work / "made.npz"),
    }


def given(told: Json) -> dict[str, Array]:
    """Inside a job: return the user's samples as they are; empty without any."""
    return read_arrays(told["given"]) if told["given"] else {}


def taken(told: Json, inputs: Sequence[TensorSpec], free: int = FREE) -> dict[str, Array] | None:
    """Inside a job: return the samples as the inputs take them, None where none are wanted.

    Random ones have `free` for a free dimension besides the batch.

    Raises:
        CalibrationError: if the user's do not fit.
    """
    if told["given"]:
        return bind(given(told), inputs, "reference data")
    if not told["random"]:
        return None
    made = random_calibration(inputs, told["seed"], told["random"], free)
    write_arrays(Path(told["made"]), made)
    return made


def used(request: LoadRequest, inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Return what the job ran the source on; empty where it ran nothing."""
    if request.reference_inputs:
        return bind(request.reference_inputs, inputs, "reference data")
    made = request.work / "made.npz"
    return read_arrays({"path": str(made), "names": [spec.name for spec in inputs]}) if made.exists() else {}
