"""The desk of a worker: takes requests of applications, keeps them in order, and hands out answers.

It is the source of the worker's loop. Between two inferences it takes in what has come; while one runs that takes
long, a thread does, so that a full queue is told at once.
"""

import os
import select
import signal
import socket
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator

from edgekit_agent.config import ServeConfig
from edgekit_agent.errors import ProtocolError
from edgekit_agent.serve.batch import Batch
from edgekit_agent.serve.connection import Asked, Connection, Refusal
from edgekit_agent.serve.waiting import Waiting
from edgekit_agent.serve.wire import Hello, Replies, Requests, Status, free_of
from edgekit_agent.sources.base import Prepared

IDLE_S = 1.0
LONG_NS = 3_000_000
INDICES = frozenset({"int32", "int64", "uint32", "uint64"})
AWAY_S = 1.0
_LOOK_S = 0.02


class Desk:
    """Applications' connections and the queue of what they ask."""

    live = True

    def __init__(self, listener: socket.socket, hello: Hello, config: ServeConfig) -> None:
        """Take the listening socket, what is served, and the limits."""
        self._listener, self._hello, self._config = listener, hello, config
        self._requests, self._replies = Requests(len(free_of(hello.inputs))), Replies(hello.outputs)
        self._batched = hello.max_batch > 1
        # runtimes check indices and then use them: an application must not be able to change them in between
        self._copied = any(spec.dtype in INDICES and not spec.scale for spec in hello.inputs)
        self._clients: dict[int, Connection] = {}
        self._queue: deque[Asked] = deque()
        self._counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._running = threading.Event()
        self._ran_ns = 0
        self.dropped = 0
        """Requests that were not run, as far as `refused` was asked."""
        self._leaving = False
        self._leaving_us: list[Connection] = []
        self._away_until_s: float | None = None
        listener.setblocking(False)  # noqa: FBT003  # the standard library's own
        self._wake, wake_write = os.pipe()
        os.set_blocking(wake_write, False)
        signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
        self._waiting = Waiting()
        self._epoll = select.epoll()
        self._epoll.register(self._wake, select.EPOLLIN)
        # several workers may wait on one socket: the kernel wakes one of them
        self._epoll.register(listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)
        threading.Thread(target=self._attend, name="desk", daemon=True).start()

    # --- what the loop takes

    def samples(self) -> Iterator[Batch | None]:
        """Yield what is to be run at a time, or None when a second has passed without; see `Source`."""
        while True:
            if self._leaving_us or self._away_until_s is not None:
                self._send_away()
            batch = self._next(IDLE_S)
            if batch is None:
                yield None
            else:
                yield from self._run(batch)

    def rest(self) -> Iterator[Batch]:
        """Take no new applications and no new requests, and yield what was asked until now."""
        with self._lock:
            self._running.clear()
            self._leaving = True
            if self._away_until_s is None:
                self._epoll.unregister(self._listener)
            self._listener.close()
            for client in list(self._clients.values()):
                client.shut()
                while not client.closed and self._hear(client):
                    pass
        while (batch := self._next(0)) is not None:
            yield from self._run(batch)

    def share(self) -> None:
        """Leave every other application to another worker of the model, and the next that come for a second, too.

        Those get answers to what they have asked, then they are sent away and ask the worker that takes them in.
        """
        with self._lock:
            if self._away_until_s is None:
                self._epoll.unregister(self._listener)
            self._away_until_s = time.monotonic() + AWAY_S
            for client in list(self._clients.values())[::2]:
                client.shut()
                while not client.closed and self._hear(client):
                    pass
                if not client.closed:
                    self._leaving_us.append(client)

    def _send_away(self) -> None:
        """End the connections that were told so and wait for no answer; called between inferences."""
        with self._lock:
            waiting = {asked.client.fileno() for asked in self._queue}
            for client in [one for one in self._leaving_us if one.closed or one.fileno() not in waiting]:
                self._leaving_us.remove(client)
                if not client.closed:
                    client.say(0, Status.GOAWAY, "another worker serves, too")
                    self._end(client)
            if self._away_until_s is not None and time.monotonic() >= self._away_until_s and not self._leaving:
                self._away_until_s = None
                self._epoll.register(self._listener, select.EPOLLIN | select.EPOLLEXCLUSIVE)

    def _run(self, batch: Batch) -> Iterator[Batch]:
        if self._ran_ns > LONG_NS:
            self._running.set()
        start = time.monotonic_ns()
        yield batch
        with self._lock:  # from here on nobody else takes in requests: the wait for them would not see it
            self._running.clear()
        self._ran_ns = time.monotonic_ns() - start

    @staticmethod
    def prepare(batch: Batch) -> Prepared:
        """Return the inputs of a run."""
        return Prepared(batch.arrays())

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return len(self._queue)

    def refused(self) -> dict[str, int]:
        """Return how many requests were not run, by reason, since this was last asked.

        None of them is the model's fault, so they are no errors of it.
        """
        counts, self._counts = self._counts, Counter()
        self.dropped += counts.total()
        return dict(counts)

    def close(self) -> None:
        """Send the applications away: they find the worker's successor."""
        with self._lock:
            for client in list(self._clients.values()):
                client.say(0, Status.GOAWAY, "the worker ends")
                self._end(client)

    # --- what comes in

    def _next(self, idle_s: float) -> Batch | None:
        """Return what is to be run at a time, None when nothing has come for so long."""
        self._pump(0 if self._queue else idle_s)
        first = self._first()
        if first is None:
            return None
        found, rows = [first], first.rows if self._batched else self._hello.max_batch
        while rows < self._hello.max_batch and (self._queue or self._wait_for_more(first)):
            if not self._fits(first, self._queue[0], rows):
                break
            asked = self._first()
            if asked is None:
                break
            found.append(asked)
            rows += asked.rows
        return Batch(found, copied=self._copied)

    def _first(self) -> Asked | None:
        """Return the first that waits and is still worth running."""
        while self._queue:
            asked = self._queue.popleft()
            if asked.client.closed:
                self._counts["Cancelled"] += 1
            elif asked.late:
                self._expired(asked)
            else:
                return asked
        return None

    def _fits(self, first: Asked, other: Asked, rows: int) -> bool:
        """Say whether a request can be run in the same batch."""
        same = all(one.shape[1:] == two.shape[1:] for one, two in zip(first.arrays, other.arrays, strict=True))
        return same and rows + other.rows <= self._hello.max_batch

    def _wait_for_more(self, first: Asked) -> bool:
        """Wait for another request until the first has waited for as long as it may; say whether one came."""
        self._pump(0)
        end = first.came_ns + 1000 * self._config.max_wait_us
        while not self._queue and not self._leaving and (left := end - time.monotonic_ns()) > 0:
            select.select([self._epoll], [], [], left / 1e9)  # epoll's own wait is of whole milliseconds
            self._pump(0)
        return bool(self._queue)

    def _attend(self) -> None:
        """Take in what comes while a long inference runs; workers that are idle are left the time to be first."""
        while True:
            self._running.wait()
            if select.select([self._epoll], [], [], _LOOK_S)[0]:
                time.sleep(_LOOK_S / 4)
                with self._lock:
                    if self._running.is_set():
                        self._take_in(self._epoll.poll(0))

    def _pump(self, timeout_s: float) -> None:
        """Wait for what comes, and take it in."""
        poll = self._epoll.poll
        events = self._waiting.until(lambda: poll(0), lambda: poll(timeout_s)) if timeout_s else poll(0)
        with self._lock:
            self._take_in(events)

    def _take_in(self, events: list[tuple[int, int]]) -> None:
        """Take one request an application, so that none crowds out the others."""
        for handle, event in events:
            client = self._clients.get(handle)
            if client is not None and event & select.EPOLLHUP:
                self._end(client)  # nobody waits for what it has asked
            elif client is not None:
                self._hear(client)
            elif handle == self._wake:
                os.read(handle, 4096)
            elif not self._leaving:
                self._greet()

    def _greet(self) -> None:
        try:
            end, _ = self._listener.accept()
        except OSError:
            return  # another worker was faster
        end.setblocking(False)  # noqa: FBT003  # the standard library's own
        try:
            if len(self._clients) >= self._config.clients:
                end.send(self._replies.words(0, Status.BUSY, "there are too many applications"))
                raise ConnectionRefusedError
            client = Connection(end, self._hello, self._requests, self._replies)
        except OSError:
            end.close()
            return
        self._clients[client.fileno()] = client
        self._epoll.register(client.fileno(), select.EPOLLIN)

    def _hear(self, client: Connection) -> bool:
        """Take one message; say whether there was one."""
        try:
            asked = client.receive()
        except Refusal as exc:
            self._counts["BadRequest"] += 1
            client.say(exc.number, Status.BAD, str(exc))
            return True
        except ProtocolError as exc:
            self._counts["BadRequest"] += 1
            client.say(0, Status.BAD, str(exc))
            self._end(client)
            return False
        except OSError:
            self._end(client)
            return False
        if asked is None:
            return False
        if len(self._queue) >= self._config.queue:
            self._counts["Busy"] += 1
            client.say(asked.request.id, Status.BUSY, "the queue is full")
        elif asked.late:
            self._expired(asked)
        else:
            self._queue.append(asked)
        return True

    def _end(self, client: Connection) -> None:
        handle = client.fileno()
        if handle >= 0:
            del self._clients[handle]
            self._epoll.unregister(handle)
            client.close()

    def _expired(self, asked: Asked) -> None:
        self._counts["Expired"] += 1
        asked.client.say(asked.request.id, Status.EXPIRED, "the deadline had passed before the model was free")
