"""Run samples through a source model in batches it takes."""

from collections.abc import Callable, Sequence

import numpy as np

from edgekit_converters.data import batch_size, batches
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Array, Arrays, TensorSpec

Call = Callable[[dict[str, Array]], Sequence[Array]]


def run_samples(call: Call, arrays: Arrays, inputs: Sequence[TensorSpec], free: int = 64) -> list[Array]:
    """Run every sample and return the outputs [N, ...] in the model's order.

    A fixed batch is filled up with the last sample, and what that adds is cut off. A model whose outputs
    have no row a sample (boxes of one image) is run sample by sample and its outputs are stacked.

    Raises:
        UnsupportedError: if the outputs cannot be told apart by sample.
    """
    size = batch_size(inputs, free)
    fixed = any(spec.shape and spec.shape[0] is not None for spec in inputs)
    parts: list[list[Array]] = []
    for batch in batches(arrays, size):
        given = len(next(iter(batch.values())))
        outputs = [np.asarray(one) for one in call(filled(batch, size) if fixed else batch)]
        rows = size if fixed else given
        if any(one.ndim == 0 or len(one) != rows for one in outputs):
            if rows > 1 and fixed:
                raise UnsupportedError(f"an output has no row a sample, so a batch of {size} cannot be taken apart")
            if rows > 1:
                return run_samples(call, arrays, inputs, free=1)
            outputs = [one if one.ndim and len(one) == rows else one[np.newaxis] for one in outputs]
        parts.append([one[:given] for one in outputs])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def filled(batch: Arrays, size: int) -> dict[str, Array]:
    """Return the batch with its last sample repeated up to `size`."""
    return {
        name: np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)]) for name, array in batch.items()
    }
