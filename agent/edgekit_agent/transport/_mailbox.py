"""Events from another thread, with a descriptor that wakes a selector."""

import contextlib
import os
import queue

from edgekit_agent.transport.base import TransportEvent


class Mailbox:
    """Put from any thread, taken from one."""

    def __init__(self) -> None:
        """Open the pipe."""
        self._events: queue.SimpleQueue[TransportEvent] = queue.SimpleQueue()
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        os.set_blocking(self._write, False)

    def put(self, event: TransportEvent) -> None:
        """Add an event and wake the reader."""
        self._events.put(event)
        with contextlib.suppress(BlockingIOError):  # a full pipe wakes just as well
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
        """Close the pipe."""
        os.close(self._read)
        os.close(self._write)
