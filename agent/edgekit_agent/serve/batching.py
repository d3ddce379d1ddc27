"""A model loaded at several batch sizes, to run as many requests at a time as wait."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from edgekit_agent.errors import ConfigError
from edgekit_agent.runtimes.base import Array, Session, TensorSpec


def sizes_up_to(most: int) -> list[int]:
    """Return the batch sizes a model is loaded at: powers of two, and the largest."""
    return [size for size in (1 << power for power in range(most.bit_length())) if size < most] + [most]


class BatchSession:
    """A session with a free batch of at most `most`; a batch that is none of the sizes repeats its last row."""

    def __init__(self, load: Callable[[int], Session], most: int) -> None:
        """Load a model at every size: `load(batch)`.

        A batch fixed when the model is loaded was measured faster than a free one, and keeps a runtime from planning
        its memory anew when the number of requests changes.

        Raises:
            ConfigError: if the model's first dimension is not free.
        """
        self._most = most
        self._sessions = {size: load(size) for size in sizes_up_to(most)}
        largest = self._sessions[most]
        specs = (*largest.inputs, *largest.outputs)
        if not all(spec.shape[:1] in {(most,), (-1,)} for spec in specs) or not largest.inputs:
            error = ConfigError(f"model.serve.max_batch is {most} and the model's first dimension is not free")
            error.add_note("convert the model with a free first dimension, or leave max_batch at 1")
            raise error
        self.inputs = tuple(_free(spec) for spec in largest.inputs)
        self.outputs = tuple(_free(spec) for spec in largest.outputs)
        self.runtime, self.operators = largest.runtime, largest.operators

    @property
    def executed_on(self) -> tuple[str, ...]:
        """Devices that really execute."""
        return self._sessions[self._most].executed_on

    def invoke(self, arrays: Sequence[Array]) -> list[Array]:
        """Run once; see `Session.invoke`. The batch is at most `most`."""
        rows = len(arrays[0])
        size = next(size for size in self._sessions if size >= rows)
        if size > rows:
            arrays = [np.concatenate([array, np.repeat(array[-1:], size - rows, axis=0)]) for array in arrays]
        return [output[:rows] for output in self._sessions[size].invoke(arrays)]

    def close(self) -> None:
        """Free the models."""
        for session in self._sessions.values():
            session.close()


def _free(spec: TensorSpec) -> TensorSpec:
    return replace(spec, shape=(-1, *spec.shape[1:]))
