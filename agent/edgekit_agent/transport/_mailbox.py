"""Events from another thread, with a descriptor that wakes a selector."""

import contextlib
import os
import queue
import threading

from edgekit_agent.transport.base import TransportEvent


class Mailbox:
    """Put from any thread, taken from one."""

    def __init__(self) -> None:
        """Open the pipe."""
        self._events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)
        self._lock = threading.Lock()
        self._open = True

    def put(self, event: TransportEvent) -> None:
        """Add an event and wake the reader."""
        self._events.put(event)
        # after `close` the descriptor's number may be somebody else's file
        with self._lock, contextlib.suppress(BlockingIOError):  # a full pipe wakes just as well
            if self._open:
                os.write(self._write, b"\0")

    def take(self) -> list[TransportEvent]:
        """Return all events."""
        with contextlib.suppress(BlockingIOError):
            os.read(self._read, 65536)
        events = []
        with contextlib.suppress(queue.Empty):
            while True:
                events.append(self._events.get_nowait())
        return events

    def fileno(self) -> int:
        """Return the descriptor to select on."""
        return self._read

    def close(self) -> None:
        """Close the pipe; what is put from now on wakes nobody."""
        with self._lock:
            if self._open:
                self._open = False
                os.close(self._read)
                os.close(self._write)
