"""Run samples through a source model in batches it takes."""

from collections.abc import Callable, Iterator, Sequence

import numpy as np

from edgekit_converters.data import batch_size, batches, is_whole
from edgekit_converters.errors import UnsupportedError
from edgekit_converters.model import Array, Arrays, TensorSpec

Call = Callable[[dict[str, Array]], Sequence[Array]]


def run_samples(call: Call, arrays: Arrays, inputs: Sequence[TensorSpec], free: int = 64) -> list[Array]:
    """Run every sample and return the outputs [N, ...] in the model's order.

    Arrays are as `data.bind` gives them.

    A fixed batch is filled up with the last sample, and what that adds is cut off. A model whose outputs
    have no row a sample (boxes of one image) is run sample by sample and its outputs are stacked.

    Raises:
        UnsupportedError: if the outputs cannot be told apart by sample.
    """
    whole = any(is_whole(arrays[spec.name], spec) for spec in inputs)
    size = 1 if whole else batch_size(inputs, free)
    fixed = not whole and any(spec.shape and spec.shape[0] is not None for spec in inputs)
    parts: list[list[Array]] = []
    for batch in batches(arrays, size):
        given = len(next(iter(batch.values())))
        outputs = [np.asarray(one) for one in call(_of_a_run(filled(batch, size) if fixed else batch, inputs))]
        rows = size if fixed else given
        if any(one.ndim == 0 or len(one) != rows for one in outputs):
            if rows > 1 and fixed:
                raise UnsupportedError(f"an output has no row a sample, so a batch of {size} cannot be taken apart")
            if rows > 1:
                return run_samples(call, arrays, inputs, free=1)
            outputs = [one if one.ndim and len(one) == rows else one[np.newaxis] for one in outputs]
        parts.append([one[:given] for one in outputs])
    return [np.concatenate(column) for column in zip(*parts, strict=True)]


def feeds(arrays: Arrays, inputs: Sequence[TensorSpec]) -> Iterator[dict[str, Array]]:
    """Yield what one run after the other takes; a free batch is 1."""
    whole = any(is_whole(arrays[spec.name], spec) for spec in inputs)
    size = 1 if whole else batch_size(inputs, free=1)
    for batch in batches(arrays, size):
        yield _of_a_run(filled(batch, size), inputs)


def _of_a_run(batch: Arrays, inputs: Sequence[TensorSpec]) -> dict[str, Array]:
    """Take the samples' axis away where the one sample is the whole input."""
    return {
        spec.name: np.asarray(batch[spec.name][0]) if is_whole(batch[spec.name], spec) else batch[spec.name]
        for spec in inputs
    }


def filled(batch: Arrays, size: int) -> dict[str, Array]:
    """Return the batch with its last sample repeated up to `size`."""
    return {
        name: np.concatenate([array, np.repeat(array[-1:], size - len(array), axis=0)]) for name, array in batch.items()
    }
