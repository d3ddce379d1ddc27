"""What a worker process is told to do, on its way there; standard library only: the supervisor stays small."""

import json
from dataclasses import asdict

from edgekit_agent.config import BrokerConfig, LimitsConfig, ModelConfig, ServeConfig
from edgekit_agent.sinks.settings import SinkConfig
from edgekit_agent.sources.settings import SourceConfig


def orders_of(config: ModelConfig, broker: BrokerConfig | None = None, *, prove: bool = False) -> bytes:
    """Return the worker's first message.

    Args:
        config: of its model.
        broker: of the device; it goes along if the model's source needs it.
        prove: whether it has to prove the model before it serves.
    """
    needed = broker if config.source.kind == "mqtt" else None
    return json.dumps({"prove": prove, "broker": needed and asdict(needed), "model": asdict(config)}).encode()


def proving(orders: bytes) -> bool:
    """Return whether the model is to be proved first."""
    return bool(json.loads(orders)["prove"])


def broker_of(orders: bytes) -> BrokerConfig | None:
    """Return the broker, if the model's source needs it."""
    broker = json.loads(orders)["broker"]
    return broker and BrokerConfig(**broker)


def config_of(orders: bytes) -> ModelConfig:
    """Return the configuration."""
    values = json.loads(orders)["model"]
    source, limits = SourceConfig(**values.pop("source")), LimitsConfig(**values.pop("limits"))
    serve, sinks = ServeConfig(**values.pop("serve")), tuple(SinkConfig(**one) for one in values.pop("sink"))
    return ModelConfig(**values, source=source, limits=limits, serve=serve, sink=sinks)
