"""Seeded random inputs."""

from collections.abc import Iterator, Sequence

from edgekit_agent import feeds
from edgekit_agent.runtimes.base import TensorSpec
from edgekit_agent.sources.base import Item, Prepared, Sample, Source, Stored
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted


class SyntheticSource(Stored):
    """Seeded random inputs, made beforehand."""

    def __init__(self, inputs: Sequence[TensorSpec], seed: int) -> None:
        """Make eight inputs."""
        self._inputs = feeds.synthetic(inputs, seed)

    def samples(self) -> Iterator[Item]:
        """Yield each once."""
        return (Sample(Prepared(arrays)) for arrays in self._inputs)

    def prepare(self, sample: Sample) -> Prepared:
        """There is nothing to do."""
        prepared: Prepared = sample.raw
        return prepared


def open_synthetic(config: SourceConfig, wanted: Wanted) -> Source:
    """Return inputs made up for a model."""
    return SyntheticSource(wanted.inputs, config.seed)
