"""Why an update is not fetched; every refusal has a reason code that goes over the wire."""

from edgekit_agent.errors import AgentError
from edgekit_agent.protocol import Reason


class FetchError(AgentError):
    """An update is refused; the running model and everything in the store stay as they are."""

    def __init__(self, reason: Reason, message: str) -> None:
        """Say why, for programs and for people."""
        super().__init__(message)
        self.reason = reason


class AbsentError(FetchError):
    """The repository has no such file."""

    def __init__(self, message: str) -> None:
        """Name the file."""
        super().__init__(Reason.REPOSITORY_ANSWER_WRONG, message)


class UnreachableError(FetchError):
    """The repository does not answer at the moment: worth another try."""

    def __init__(self, message: str) -> None:
        """Say what failed."""
        super().__init__(Reason.REPOSITORY_UNREACHABLE, message)
