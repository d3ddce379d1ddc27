"""What a model wants of its source."""

from collections.abc import Sequence
from dataclasses import dataclass

from edgekit_agent.config import BrokerConfig
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import TensorSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A model's inputs, how raw data becomes them, its class names, and the broker of its device."""

    inputs: Sequence[TensorSpec]
    preprocess: Preprocess
    classes: tuple[str, ...] = ()
    broker: BrokerConfig | None = None
