"""How a request of an application can end other than with an answer."""

from edgekit_agent.errors import AgentError


class ClientError(AgentError):
    """Base of what a client raises."""


class Busy(ClientError):  # noqa: N818  # the words applications know from other services
    """The model's queue is full: try again in a moment. Nothing was run."""


class DeadlineExceeded(ClientError):  # noqa: N818
    """The answer was not there in time."""


class ModelGone(ClientError):  # noqa: N818
    """No worker serves the model: there is none of that name, or it is down and did not come back."""


class ModelChanged(ModelGone):
    """The model was replaced by one with other inputs or outputs: look at them again."""


class RequestRefused(ClientError):  # noqa: N818
    """The request does not fit the model."""


class InferenceFailed(ClientError):  # noqa: N818
    """The runtime failed on this request."""
