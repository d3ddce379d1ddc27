"""Fit a user's arrays to a model's inputs."""

from collections.abc import Iterator, Sequence

import numpy as np

from edgekit_converters.errors import CalibrationError
from edgekit_converters.model import Array, Arrays, TensorSpec

ONLY = "x"
"""The name that stands for the input of a model with a single one."""


def bind(arrays: Arrays, inputs: Sequence[TensorSpec], what: str = "data") -> dict[str, Array]:
    """Return arrays [N, ...] by the model's input names, in its order and with its dtypes.

    Each array's first axis counts samples; a sample has the input's shape without its first
    (batch) dimension, or (with one axis more) it is the whole input of a run: a model may have inputs
    that are no rows of a batch, such as a state of two layers or a single number. A model with one
    input also takes the name `x`. Values are cast when no information is lost in kind (integers to
    floats, float64 to float32), never floats to integers.

    Raises:
        CalibrationError: on a wrong name, shape, dtype, differing sample counts, or NaN or infinite values.
    """
    names = [spec.name for spec in inputs]
    if len(inputs) == 1 and set(arrays) == {ONLY}:
        arrays = {names[0]: arrays[ONLY]}
    missing, unknown = [n for n in names if n not in arrays], [n for n in arrays if n not in names]
    if missing or unknown:
        wrong = f"has no array '{missing[0]}'" if missing else f"has an array '{unknown[0]}' the model does not know"
        error = CalibrationError(f"the {what} {wrong}")
        error.add_note(f"the model's inputs are: {', '.join(names)}; a model with one input also takes '{ONLY}'")
        raise error
    bound = {spec.name: _fit(np.asarray(arrays[spec.name]), spec, what) for spec in inputs}
    counts = {name: len(array) for name, array in bound.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise CalibrationError(f"the {what}'s arrays have different numbers of samples: {listed}")
    if not next(iter(counts.values())):
        raise CalibrationError(f"the {what} has no samples")
    return bound


def _fit(array: Array, spec: TensorSpec, what: str) -> Array:
    wanted, dtype = spec.shape[array.ndim == len(spec.shape) :], np.dtype(spec.dtype)
    if array.ndim != len(wanted) + 1 or any(
        w not in {None, got} for w, got in zip(wanted, array.shape[1:], strict=True)
    ):
        shape = "x".join("?" if d is None else str(d) for d in ("N", *wanted))
        got = "x".join(str(d) for d in array.shape) or "a single number"
        error = CalibrationError(f"the {what} for input '{spec.name}' has shape {got}, the model takes {shape}")
        if array.ndim == len(spec.shape) and sorted(array.shape[1:]) == sorted(d or 0 for d in wanted):
            error.add_note("the same sizes in another order: is the layout (NHWC or NCHW) swapped?")
        raise error
    if not np.can_cast(array.dtype, dtype, casting="same_kind"):
        raise CalibrationError(f"the {what} for input '{spec.name}' has dtype {array.dtype}, the model takes {dtype}")
    fitted = np.ascontiguousarray(array, dtype=dtype)
    if fitted.dtype.kind == "f" and not np.isfinite(fitted).all():
        raise CalibrationError(f"the {what} for input '{spec.name}' holds NaN or infinite values")
    return fitted


def is_whole(array: Array, spec: TensorSpec) -> bool:
    """Whether each sample of an array is the whole input of a run."""
    return array.ndim == len(spec.shape) + 1


def batches(arrays: Arrays, size: int) -> Iterator[dict[str, Array]]:
    """Yield the arrays in runs of at most `size` samples, in order."""
    count = len(next(iter(arrays.values())))
    for start in range(0, count, size):
        yield {name: array[start : start + size] for name, array in arrays.items()}


def batch_size(inputs: Sequence[TensorSpec], free: int = 64) -> int:
    """Return how many samples one run of a model takes: its fixed first dimension, or `free`."""
    fixed = [spec.shape[0] for spec in inputs if spec.shape and spec.shape[0] is not None]
    return fixed[0] if fixed else free


def share_a_batch(inputs: Sequence[TensorSpec]) -> bool:
    """Whether the first dimension can count samples in every input: none is a single number, and they agree."""
    fixed = {spec.shape[0] for spec in inputs if spec.shape} - {None}
    return len(fixed) <= 1 and all(spec.shape for spec in inputs)
