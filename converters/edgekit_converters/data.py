"""Fit a user's arrays to a model's inputs, and cut them into runs.

A sample is a row: an array [N, ...] whose rows have an input's shape without its first (batch) dimension. Inputs
that are no rows of a batch (a recurrent state [2, batch, 128], a single number) are given whole: arrays with one
axis more than the input, each row what one run takes. Then every sample is a run of its own.
"""

from collections.abc import Iterator, Sequence
from math import prod

import numpy as np

from edgekit_converters.errors import CalibrationError, UnsupportedError
from edgekit_converters.model import Array, Arrays, TensorSpec, said

MOST_VALUES = 2**29
"""Of one array for an input: as many float64 take 4 GiB."""
ONLY = "x"
"""The name that stands for the input of a model with a single one."""


def takes_whole_runs(inputs: Sequence[TensorSpec]) -> bool:
    """Whether the inputs do not all begin with the same batch, so that rows are no samples."""
    if any(not spec.shape for spec in inputs):
        return True
    first = {spec.shape[0] for spec in inputs}
    return len(first - {None}) > 1 or (None in first and bool(first - {None, 1}))


def is_whole(array: Array, spec: TensorSpec) -> bool:
    """Whether each row of an array is all that a run takes."""
    return array.ndim == len(spec.shape) + 1


def bind(arrays: Arrays, inputs: Sequence[TensorSpec], what: str = "data") -> dict[str, Array]:
    """Return arrays [N, ...] by the model's input names, in its order and with its dtypes.

    Each array's first axis counts samples; a row is a sample, or the whole input of its run. A model with one
    input also takes the name `x`.
    Values are cast when no information is lost in kind (integers to floats, float64 to float32), never floats
    to integers.

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
    wanted, dtype = spec.shape if is_whole(array, spec) else spec.shape[1:], np.dtype(spec.dtype)
    if array.ndim != len(wanted) + 1 or any(
        w not in {None, got} for w, got in zip(wanted, array.shape[1:], strict=True)
    ):
        error = CalibrationError(
            f"the {what} for input '{spec.name}' has shape {said(array.shape)}, the model takes {said(('N', *wanted))}"
        )
        if array.ndim == len(wanted) + 1 and sorted(array.shape[1:]) == sorted(d or 0 for d in wanted):
            error.add_note("the same sizes in another order: is the layout (NHWC or NCHW) swapped?")
        raise error
    if not np.can_cast(array.dtype, dtype, casting="same_kind"):
        raise CalibrationError(f"the {what} for input '{spec.name}' has dtype {array.dtype}, the model takes {dtype}")
    fitted = np.ascontiguousarray(array, dtype=dtype)
    if fitted.dtype.kind == "f" and not np.isfinite(fitted).all():
        raise CalibrationError(f"the {what} for input '{spec.name}' holds NaN or infinite values")
    return fitted


def runs(arrays: Arrays, inputs: Sequence[TensorSpec], free: int = 1) -> Iterator[dict[str, Array]]:
    """Yield what each run of a model is given, in order; the arrays are as `bind` gives them.

    Rows are taken so many at a time as the model's batch is; a batch that is free takes `free`. A fixed batch is
    filled up with the last row. With an input that is given whole a run takes one sample.
    """
    size = run_size(arrays, inputs, free)
    fixed = any(spec.shape and spec.shape[0] is not None for spec in inputs)
    for start in range(0, len(next(iter(arrays.values()))), size):
        batch = {spec.name: arrays[spec.name][start : start + size] for spec in inputs}
        yield {
            spec.name: np.asarray(array[0]) if is_whole(array, spec) else _filled(array, size) if fixed else array
            for spec, array in zip(inputs, batch.values(), strict=True)
        }


def run_size(arrays: Arrays, inputs: Sequence[TensorSpec], free: int = 1) -> int:
    """Return how many samples a run takes.

    Raises:
        UnsupportedError: if an input has no room for any, or takes more than `MOST_VALUES`.
    """
    if any(is_whole(arrays[spec.name], spec) for spec in inputs):
        return 1
    fixed = [spec.shape[0] for spec in inputs if spec.shape and spec.shape[0] is not None]
    if 0 in fixed:
        raise UnsupportedError("the model has an input with a batch of 0, so there is nothing to run it on")
    for spec in inputs:
        if prod(size or 1 for size in spec.shape) > MOST_VALUES:
            raise UnsupportedError(f"input '{spec.name}' takes {said(spec.shape)} values, more than a run is given")
    return fixed[0] if fixed else free


def _filled(array: Array, size: int) -> Array:
    return np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)])
