"""Run samples through a source model in batches it takes."""

from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.data import run_size, runs
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Array, Arrays, TensorSpec

Call = Callable[[dict[str, Array]], Sequence[Array]]


def run_samples(call: Call, arrays: Arrays, inputs: Sequence[TensorSpec], free: int = 64) -> list[Array]:
    """Run every sample and return the outputs [N, ...] in the model's order.

    What filling up a fixed batch adds is cut off. A model whose outputs have no row a sample (boxes of one
    image) is run sample by sample and its outputs are stacked.

    Raises:
        UnsupportedError: if the model has no inputs or no outputs, or these cannot be told apart by sample.
    """
    if not arrays:
        raise UnsupportedError("the model has no inputs, so there is nothing to run it on")
    size = run_size(arrays, inputs, free)
    fixed = any(spec.shape and spec.shape[0] is not None for spec in inputs)
    count = len(next(iter(arrays.values())))
    parts: list[list[Array]] = []
    for place, given in enumerate(runs(arrays, inputs, free)):
        rows = size if fixed else min(size, count - place * size)
        outputs = [np.asarray(one) for one in call(given)]
        if not outputs:
            raise UnsupportedError("the model has no outputs")
        if any(one.ndim == 0 or len(one) != rows for one in outputs):
            if rows > 1 and fixed:
                raise UnsupportedError(f"an output has no row a sample, so a batch of {rows} cannot be taken apart")
            if rows > 1:
                return run_samples(call, arrays, inputs, free=1)
            outputs = [one if one.ndim and len(one) == rows else one[np.newaxis] for one in outputs]
        parts.append(outputs)
    return [joined(column)[:count] for column in zip(*parts, strict=True)]


def joined(rows: Sequence[Array]) -> Array:
    """Return the rows of all runs as one array.

    Raises:
        UnsupportedError: if their shapes differ.
    """
    try:
        return np.concatenate(rows)
    except ValueError as exc:
        raise UnsupportedError("an output has another shape for every sample, so they cannot be held together") from exc
