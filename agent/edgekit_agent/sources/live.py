"""Samples that come by themselves: a thread takes them in, the newest win, what is overtaken is counted."""

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator

from edgekit_agent.errors import AgentError, StreamError
from edgekit_agent.sources.base import Item, Sample

ASK_AGAIN_S = 0.25
BACKOFF_S = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
STEADY_S = 10.0
END_TIMEOUT_S = 2.0


class Newest:
    """The last few items that were put; put from any thread, taken from one."""

    def __init__(self, capacity: int) -> None:
        """Keep so many samples at most."""
        self.dropped = 0
        self._items: deque[Sample | AgentError] = deque()
        self._capacity = capacity
        self._changed = threading.Condition()

    def put(self, item: Sample | AgentError) -> None:
        """Add an item; the oldest of too many is dropped, and counted if it is a sample."""
        with self._changed:
            self._items.append(item)
            if len(self._items) > self._capacity:
                self.dropped += isinstance(self._items.popleft(), Sample)
            self._changed.notify()

    def take(self, timeout_s: float) -> Item:
        """Return the oldest that is kept, or None when there is none for so long."""
        with self._changed:
            if not self._items:
                self._changed.wait(timeout_s)
            return self._items.popleft() if self._items else None


class Feed:
    """A thread that reads a stream into a mailbox, and opens it again when it is gone, later each time.

    `read` is given a function to put samples and an event that says stop; it returns or raises `StreamError` when the
    stream has ended, and returns soon when the event is set.
    """

    def __init__(self, name: str, read: Callable[["Feed"], None], capacity: int) -> None:
        """Begin to read."""
        self.stopping = threading.Event()
        self.newest = Newest(capacity)
        self._read = read
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def put(self, sample: Sample) -> None:
        """Hand a sample over."""
        self.newest.put(sample)

    def _run(self) -> None:
        failures = 0
        while not self.stopping.is_set():
            begun = time.monotonic()
            try:
                self._read(self)
                error: AgentError = StreamError("the stream has ended")
            except AgentError as exc:
                error = exc
            except Exception as exc:  # noqa: BLE001  # the port: what a library raises on a device's nonsense
                error = StreamError(f"the stream failed: {type(exc).__name__}: {exc}")
            if self.stopping.is_set():
                return
            self.newest.put(error)
            if time.monotonic() - begun >= STEADY_S:
                failures = 0
            self.stopping.wait(BACKOFF_S[min(failures, len(BACKOFF_S) - 1)])
            failures += 1

    def items(self) -> Iterator[Item]:
        """Yield what comes, and None when nothing has come for a moment."""
        while not self.stopping.is_set():
            yield self.newest.take(ASK_AGAIN_S)

    def close(self) -> None:
        """End the thread; one that is stuck in a driver ends with the process."""
        self.stopping.set()
        self._thread.join(END_TIMEOUT_S)


class Live:
    """What sources that read a stream have in common; `_read` is what `Feed` calls."""

    live = True

    def __init__(self, name: str, capacity: int) -> None:
        """The thread begins when samples are first asked for."""
        self._name, self._capacity = name, capacity
        self._feed: Feed | None = None

    def _read(self, feed: Feed) -> None:
        raise NotImplementedError

    @property
    def dropped(self) -> int:
        """Samples that were overtaken by newer ones."""
        return self._feed.newest.dropped if self._feed else 0

    def samples(self) -> Iterator[Item]:
        """Yield samples as they come, for ever."""
        self._feed = self._feed or Feed(self._name, self._read, self._capacity)
        return self._feed.items()

    def close(self) -> None:
        """End the thread."""
        if self._feed is not None:
            self._feed.close()
