"""A download that is slower than it may be is ended, also when something still trickles in."""

import time
from collections.abc import Callable

from edgekit_agent.fetch.errors import FetchError, UnreachableError
from edgekit_agent.protocol import Reason

PAUSES_S = (0.5, 1.0, 2.0)


class Pace:
    """The lowest rate allowed, over a window."""

    def __init__(self, min_bytes_per_s: int, window_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        """Take the limits; a window in which fewer bytes come than the rate asks for is the end."""
        self.window_s = window_s
        self._least = min_bytes_per_s * window_s
        self._clock = clock
        self._since = clock()
        self._bytes = 0

    def begin(self) -> None:
        """Start anew, for another request."""
        self._since, self._bytes = self._clock(), 0

    def took(self, count: int) -> None:
        """Count bytes that came.

        Raises:
            FetchError: if the window that ends brought too few.
        """
        self._bytes += count
        now = self._clock()
        if now - self._since < self.window_s:
            return
        if self._bytes < self._least:
            raise FetchError(
                Reason.DOWNLOAD_TOO_SLOW,
                f"{self._bytes} bytes came in {now - self._since:.1f} s, the least allowed is {self._least:.0f}",
            )
        self._since, self._bytes = now, 0


class Retries:
    """How often something that failed is tried again, with the pauses of `PAUSES_S`; progress starts the count anew."""

    def __init__(self, sleep: Callable[[float], None] = time.sleep) -> None:
        """Take how to wait."""
        self._sleep = sleep
        self._failed = 0

    def progressed(self) -> None:
        """Forget the failures: something came."""
        self._failed = 0

    def failed(self, error: UnreachableError) -> None:
        """Wait before the next try.

        Raises:
            UnreachableError: the error given, when there are no more tries.
        """
        self._failed += 1
        if self._failed > len(PAUSES_S):
            raise error
        self._sleep(PAUSES_S[self._failed - 1])
