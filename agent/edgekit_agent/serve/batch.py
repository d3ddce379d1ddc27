"""Requests that are run at a time: one, or several of a model that takes a batch."""

from collections.abc import Sequence

import numpy as np

from edgekit_agent.runtimes.base import Array
from edgekit_agent.serve.connection import Asked
from edgekit_agent.serve.wire import Status


class Batch:
    """What the worker's loop gets as a sample: it knows who waits for the answer."""

    __slots__ = ("_asked", "_copied")
    label = None

    def __init__(self, asked: list[Asked], *, copied: bool) -> None:
        """Take the requests.

        Args:
            asked: at least one.
            copied: whether applications must not be able to change the inputs while they are run.
        """
        self._asked, self._copied = asked, copied

    @property
    def came(self) -> list[int]:
        """When each request came, in ns of `time.monotonic_ns`, which on Linux is `time.perf_counter_ns`."""
        return [one.came_ns for one in self._asked]

    def arrays(self) -> list[Array]:
        """Return the inputs of the run: the application's own memory for one request, joined for several."""
        first = self._asked[0].arrays
        if len(self._asked) > 1:
            return [np.concatenate(parts) for parts in zip(*(one.arrays for one in self._asked), strict=True)]
        return [np.copy(array) for array in first] if self._copied else first

    def answer(self, outputs: Sequence[Array]) -> None:
        """Give each application its rows of the outputs."""
        if len(self._asked) == 1:
            self._asked[0].client.answer(self._asked[0], outputs)
            return
        row = 0
        for one in self._asked:
            one.client.answer(one, [output[row : row + one.rows] for output in outputs])
            row += one.rows

    def fail(self, text: str) -> None:
        """Tell each application that the run has failed."""
        for one in self._asked:
            one.client.say(one.request.id, Status.FAILED, text)
