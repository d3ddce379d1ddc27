"""The port every source implements, and what it gives."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from edgekit_agent.errors import AgentError
from edgekit_agent.placing import Placement
from edgekit_agent.runtimes.base import Array


@dataclass(frozen=True, slots=True)
class Sample:
    """One inference's raw input, with its class number where it is known."""

    raw: Any
    label: int | None = None


class Prepared(NamedTuple):
    """The inputs of one run as the model stores them, and where a picture's pixels went."""

    arrays: Sequence[Array]
    placement: Placement | None = None


Item = Sample | AgentError | None
"""A sample; or what went wrong, after which the source goes on; or None: there is nothing yet, ask again."""


class Source(Protocol):
    """A stream of samples; `prepare` is the timed pre-processing.

    A live source goes on whether or not its samples are taken: `dropped` counts those that were overtaken by newer
    ones. Its iterator yields None at least every half second, so that whoever asks can do something else.
    """

    live: bool

    @property
    def dropped(self) -> int:
        """Samples that were overtaken since the beginning."""
        ...

    def samples(self) -> Iterator[Item]:
        """Yield samples, for ever or until there are no more."""
        ...

    def prepare(self, sample: Sample) -> Prepared:
        """Return the model's inputs for one run.

        Raises:
            InputDataError: if the sample is broken or does not fit the model.
        """
        ...

    def close(self) -> None:
        """End what runs beside: threads, processes, connections."""
        ...


class Stored:
    """What sources of stored data have in common: nothing is lost, nothing runs beside."""

    live = False
    dropped = 0

    def close(self) -> None:
        """There is nothing to end."""


class Limited:
    """A source that starts again when it ends (`loop`), and ends after `limit` samples (0: never)."""

    def __init__(self, source: Source, *, loop: bool, limit: int) -> None:
        """Take the source."""
        self._source, self._loop, self._limit = source, loop, limit
        self.live, self.prepare, self.close = source.live, source.prepare, source.close

    @property
    def dropped(self) -> int:
        """What the source has dropped."""
        return self._source.dropped

    def samples(self) -> Iterator[Item]:
        """Yield the source's samples."""
        count = 0
        while True:
            before = count
            for item in self._source.samples():
                yield item
                count += isinstance(item, Sample)
                if count == self._limit > 0:
                    return
            if not self._loop or count == before:  # one without any sample would go round for ever
                return
