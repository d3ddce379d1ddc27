"""Slows down who guesses: so many failures in a time, then no more tries until the oldest is forgotten."""

import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from math import ceil

from edgekit.fleet.api.errors import ApiError

KEYS = 10_000


class Throttle:
    """Counts failures by key; of more than `KEYS` keys the one longest unused is forgotten."""

    def __init__(self, limit: int, window_s: float, now: Callable[[], float] = time.monotonic) -> None:
        """Allow `limit` failures within `window_s`."""
        self._limit, self._window_s, self._now = limit, window_s, now
        self._failures: OrderedDict[str, deque[float]] = OrderedDict()
        self._lock = threading.Lock()

    def check(self, key: str) -> None:
        """Refuse when there were too many.

        Raises:
            ApiError: 429, with the seconds to wait.
        """
        with self._lock:
            failures = self._recent(key)
            if len(failures) >= self._limit:
                wait_s = ceil(failures[0] + self._window_s - self._now())
                raise ApiError(
                    429, "slow-down", f"too many tries; the next is possible in {wait_s} s",
                    headers={"Retry-After": str(wait_s)},
                )  # fmt: skip

    def failed(self, key: str) -> None:
        """Count a failure."""
        with self._lock:
            failures = self._recent(key)
            failures.append(self._now())
            self._failures[key] = failures
            self._failures.move_to_end(key)
            while len(self._failures) > KEYS:
                self._failures.popitem(last=False)

    def passed(self, key: str) -> None:
        """Forget the failures of who made it."""
        with self._lock:
            self._failures.pop(key, None)

    def _recent(self, key: str) -> deque[float]:
        failures = self._failures.get(key, deque(maxlen=self._limit))
        while failures and failures[0] <= self._now() - self._window_s:
            failures.popleft()
        return failures
