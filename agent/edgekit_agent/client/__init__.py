"""For applications on the device: `with Client("kws") as model: model(x)`. Needs NumPy only."""

from edgekit_agent.client.client import Client, Pending
from edgekit_agent.client.errors import (
    Busy,
    ClientError,
    DeadlineExceeded,
    InferenceFailed,
    ModelChanged,
    ModelGone,
    RequestRefused,
)

__all__ = [
    "Busy",
    "Client",
    "ClientError",
    "DeadlineExceeded",
    "InferenceFailed",
    "ModelChanged",
    "ModelGone",
    "Pending",
    "RequestRefused",
]
