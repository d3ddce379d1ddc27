"""How a request over HTTP can end other than with an answer."""

from collections.abc import Sequence

from edgekit_agent.client import Busy, DeadlineExceeded, InferenceFailed, ModelGone, RequestRefused
from edgekit_agent.errors import InputDataError

Headers = Sequence[tuple[str, str]]


class HttpError(Exception):
    """A status with one sentence."""

    def __init__(self, status: int, text: str, headers: Headers = ()) -> None:
        """Take the status, the sentence for `{"error": ...}` and headers."""
        super().__init__(text)
        self.status, self.headers = status, headers


_AGAIN = (("Retry-After", "1"),)
_STATUS: tuple[tuple[type[Exception], int, Headers], ...] = (
    (Busy, 429, _AGAIN),
    (DeadlineExceeded, 504, ()),
    (ModelGone, 503, _AGAIN),
    (RequestRefused, 400, ()),
    (InputDataError, 400, ()),
    (InferenceFailed, 500, ()),
)
MAPPED: tuple[type[Exception], ...] = tuple(kind for kind, _, _ in _STATUS)
TOLD: tuple[type[Exception], ...] = (HttpError, *MAPPED)


def of(exc: Exception) -> HttpError:
    """Return what an error of a model's client is over HTTP."""
    status, headers = next((status, headers) for kind, status, headers in _STATUS if isinstance(exc, kind))
    return HttpError(status, str(exc), headers)
