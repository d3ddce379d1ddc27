"""Inference for applications on the device: requests over a UNIX socket, tensors in shared memory."""

import socket
from typing import TYPE_CHECKING

from edgekit_agent.config import ModelConfig
from edgekit_agent.runtimes.base import Session
from edgekit_agent.serve.wire import Hello

if TYPE_CHECKING:  # what needs NumPy is imported by who has it
    from edgekit_agent.serve.desk import Desk


def open_desk(listener: socket.socket, config: ModelConfig, session: Session) -> "Desk":
    """Return where applications ask a loaded model.

    Raises:
        ModelError: if the model's tensors cannot stand in shared memory.
    """
    from edgekit_agent.serve.desk import Desk

    hello = Hello(
        model=config.name,
        version=config.version,
        runtime=session.runtime,
        inputs=session.inputs,
        outputs=session.outputs,
        max_batch=config.serve.max_batch,
        max_bytes=config.serve.memory_mb << 20,
        queue=config.serve.queue,
    )
    return Desk(listener, hello, config.serve)
