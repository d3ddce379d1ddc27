"""One application at a worker: its socket, its memory, and what it asks."""

import contextlib
import os
import socket
import time
from collections.abc import Sequence

from edgekit_agent.errors import ProtocolError
from edgekit_agent.runtimes.base import Array
from edgekit_agent.serve.memory import Memory, Views
from edgekit_agent.serve.wire import Hello, Replies, Request, Requests, Shapes, Status, offsets

MAX_FIRST = 1000
LONGEST_NS = 3600 * 10**9
_SHAPES_KEPT = 256


class Asked:
    """A request that waits to be run: the arrays are views on the application's memory."""

    __slots__ = ("arrays", "came_ns", "client", "request")

    def __init__(self, client: "Connection", request: Request, arrays: list[Array]) -> None:
        """Take a request; it came when the application says it sent it, if that can be."""
        self.client, self.request, self.arrays = client, request, arrays
        now = time.monotonic_ns()
        self.came_ns = request.sent_ns if 0 <= now - request.sent_ns < LONGEST_NS else now

    @property
    def late(self) -> bool:
        """Whether its deadline has passed."""
        return 0 < self.request.deadline_ns <= time.monotonic_ns()

    @property
    def rows(self) -> int:
        """How many rows it has, of a model whose first dimension is the batch."""
        return int(self.arrays[0].shape[0])


class Refusal(Exception):  # noqa: N818  # no error of ours
    """A request that cannot be taken, and why."""

    def __init__(self, number: int, text: str) -> None:
        """Take the request's id and a sentence."""
        super().__init__(text)
        self.number = number


class Connection:
    """An application's connection; nothing it sends or leaves out can do more than end it."""

    def __init__(self, end: socket.socket, hello: Hello, requests: Requests, replies: Replies) -> None:
        """Take a socket that does not block, and say what is served.

        Raises:
            OSError: if the application is gone already.
        """
        self._end, self._hello, self._requests, self._replies = end, hello, requests, replies
        self._memory: Memory | None = None
        self._inputs: Views | None = None
        self._outputs: Views | None = None
        self._shapes: dict[tuple[int, ...], Shapes] = {}
        self.closed = False
        end.send(hello.to_bytes())

    def fileno(self) -> int:
        """Return the descriptor to wait on."""
        return self._end.fileno()

    def receive(self) -> Asked | None:
        """Return the next request, None where there is none now.

        Raises:
            Refusal: if the request cannot be taken; others can.
            ProtocolError: if what came is no message of ours, and the connection has to end.
            OSError: if the application is gone.
        """
        if self._inputs is None:
            self._attach()
            return None
        try:
            message = self._end.recv(self._requests.length + 1)
        except BlockingIOError:
            return None
        if not message:
            raise ConnectionResetError
        if len(message) != self._requests.length:
            raise ProtocolError(f"a request has {len(message)} bytes, not {self._requests.length}")
        request = self._requests.unpack(message)
        shapes = self._shapes.get(request.sizes) or self._checked(request)
        try:
            return Asked(self, request, self._inputs.at(request.inputs_at, shapes))
        except ProtocolError as exc:
            raise Refusal(request.id, str(exc)) from exc

    def _attach(self) -> None:
        """Take the memory that the application's first message brings.

        Raises:
            ProtocolError: if there is none, or it is not as it has to be.
        """
        try:
            message, handles, flags, _ = socket.recv_fds(self._end, MAX_FIRST, 4, socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            return
        if not message:
            raise ConnectionResetError
        if flags & socket.MSG_CTRUNC or len(handles) != 1:
            for handle in handles:
                os.close(handle)
            raise ProtocolError("the first message does not bring one descriptor")
        self._memory = Memory(handles[0], self._hello.max_bytes)
        self._inputs, self._outputs = Views(self._memory, self._hello.inputs), Views(self._memory, self._hello.outputs)

    def _checked(self, request: Request) -> Shapes:
        """Return the inputs' shapes at the sizes of a request, and keep them."""
        hello, sizes, number = self._hello, request.sizes, request.id
        if any(not 0 < size < 1 << 31 for size in sizes):
            raise Refusal(number, "a size of a free dimension is not between 1 and 2**31")
        shapes = hello.shapes(sizes)
        batches = {shape[0] for spec, shape in zip(hello.inputs, shapes, strict=True) if spec.shape[:1] == (-1,)}
        if len(batches) > 1 or max(batches, default=1) > hello.max_batch:
            raise Refusal(number, f"the inputs do not have the same batch of at most {hello.max_batch}")
        if len(self._shapes) >= _SHAPES_KEPT:
            self._shapes.clear()
        self._shapes[sizes] = shapes
        return shapes

    def answer(self, asked: Asked, outputs: Sequence[Array]) -> None:
        """Write the outputs where they may stand, and say so."""
        request, shapes = asked.request, tuple(output.shape for output in outputs)
        if offsets(self._hello.outputs, shapes)[1] > request.room:
            self._send(self._replies.sizes(request.id, shapes, Status.SHORT))
            return
        kept = self._outputs
        if kept is None:
            return  # it has gone
        try:
            views = kept.at(request.outputs_at, shapes)
        except ProtocolError as exc:
            self.say(request.id, Status.BAD, str(exc))
            return
        for view, output in zip(views, outputs, strict=True):
            view[...] = output
        self._send(self._replies.sizes(request.id, shapes))

    def say(self, number: int, status: Status, text: str) -> None:
        """Answer with a sentence."""
        self._send(self._replies.words(number, status, text))

    def _send(self, reply: bytes) -> None:
        """Send a reply; one who is gone or does not read gets no more, and the desk will see that it has ended."""
        try:
            self._end.send(reply)
        except OSError:
            with contextlib.suppress(OSError):
                self._end.shutdown(socket.SHUT_RDWR)

    def shut(self) -> None:
        """Take no more requests; those that are on the way can still be received."""
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_RD)

    def close(self) -> None:
        """End the connection; the memory goes when nothing looks at it any more."""
        self.closed, self._inputs, self._outputs = True, None, None
        self._end.close()
        if self._memory is not None:
            self._memory.close()
