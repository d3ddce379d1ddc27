"""A model's configuration on its way to the worker process; standard library only: the supervisor stays small."""

import json
from dataclasses import asdict

from edgekit_agent.config import LimitsConfig, ModelConfig, SourceConfig


def orders_of(config: ModelConfig) -> bytes:
    """Return the configuration as the worker's first message."""
    return json.dumps(asdict(config)).encode()


def config_of(orders: bytes) -> ModelConfig:
    """Read it again."""
    values = json.loads(orders)
    source, limits = SourceConfig(**values.pop("source")), LimitsConfig(**values.pop("limits"))
    return ModelConfig(**values, source=source, limits=limits)
