"""What a worker is made of: from a model's configuration to its loop."""

import socket

from edgekit_agent.answering import Answering
from edgekit_agent.config import BrokerConfig, ModelConfig
from edgekit_agent.loop import Loop
from edgekit_agent.placing import picture_size
from edgekit_agent.postprocess import Postprocess
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import Session
from edgekit_agent.serve import open_desk
from edgekit_agent.sinks import open_sinks
from edgekit_agent.sinks.base import Sinks
from edgekit_agent.sources import open_source
from edgekit_agent.sources.classes import read_classes
from edgekit_agent.sources.wanted import Wanted


def open_flow(
    control: socket.socket,
    session: Session,
    config: ModelConfig,
    broker: BrokerConfig | None = None,
    listener: socket.socket | None = None,
) -> Loop:
    """Return the loop of a loaded model: its source, post-processing and sinks.

    Args:
        control: the socket to the supervisor.
        session: the model.
        config: of the model.
        broker: of the device, for sources of messages.
        listener: where applications ask, for a source of kind `requests`.

    Raises:
        InputDataError: if the source's files are missing or do not fit the model.
        ModelError: if the model has not the outputs that the post-processing names.
        ConfigError: if a sink's function cannot be imported, or the source's broker configuration is wrong.
        RuntimeMissingError: if a library or program that the source needs is not installed.
    """
    classes = read_classes(config.labels)
    preprocess = Preprocess.from_mapping(config.preprocess)
    sizes = [size for spec in session.inputs if (size := picture_size(spec.shape, preprocess.layout))]
    answering = Answering(
        Postprocess.from_mapping(config.postprocess),
        session.outputs,
        labels=classes,
        picture=sizes[0] if sizes else None,
    )
    sinks = Sinks(open_sinks(config.sink, control))
    wanted = Wanted(inputs=session.inputs, preprocess=preprocess, classes=classes, broker=broker)
    source = open_desk(listener, config, session) if listener else open_source(config.source, wanted)
    about: dict[str, object] = {"model": config.name, "ver": config.version}
    return Loop(control, session, source, answering, sinks=sinks, about=about, rate_hz=config.rate_hz)
