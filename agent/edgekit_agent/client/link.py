"""A client's connection to whichever worker serves the model now."""

import contextlib
import json
import select
import socket
import time
from pathlib import Path

from edgekit_agent import rundir
from edgekit_agent.client.errors import ModelGone
from edgekit_agent.errors import ProtocolError
from edgekit_agent.serve.waiting import Waiting
from edgekit_agent.serve.wire import MAX_HELLO, VERSION, Hello, Replies, Requests, free_of

_RETRY_S = 0.02


class LinkLost(Exception):  # noqa: N818  # no error of ours
    """The worker is gone, or about to be."""


class Link:
    """One connection; `hello` says what is served at its other end."""

    def __init__(self, end: socket.socket, hello: Hello) -> None:
        """Take a connected socket and the worker's greeting."""
        self._end, self.hello = end, hello
        self.requests, self.replies = Requests(len(free_of(hello.inputs))), Replies(hello.outputs)
        self._poll = select.poll()
        self._poll.register(end, select.POLLIN)
        self._waiting = Waiting()

    @classmethod
    def open(cls, model: str, path: Path, until_s: float) -> "Link":
        """Connect to a model's worker, waiting for one that is being started until that moment (steady clock).

        Raises:
            ModelGone: if there was none, or it takes no more applications.
        """
        while True:
            try:
                return cls(*_connected(path, max(0.001, until_s - time.monotonic())))
            except (OSError, ProtocolError) as exc:
                why = getattr(exc, "strerror", None) or str(exc)
            left = until_s - time.monotonic()
            if left <= 0:
                raise ModelGone(f"model '{model}' is not served at '{path}': {why}")
            time.sleep(min(_RETRY_S, left))

    def attach(self, handle: int) -> None:
        """Bring the memory.

        Raises:
            LinkLost: if the worker is gone.
        """
        try:
            socket.send_fds(self._end, [json.dumps({"v": VERSION}).encode()], [handle])
        except OSError as exc:
            raise LinkLost from exc

    def send(self, message: bytes) -> None:
        """Send a request.

        Raises:
            LinkLost: if the worker is gone.
        """
        try:
            self._end.send(message)
        except OSError as exc:
            raise LinkLost from exc

    def receive(self, timeout_s: float | None) -> bytes | None:
        """Return the next reply, None when none came in time.

        Raises:
            LinkLost: if the worker is gone; what it said before was received.
        """
        patience = None if timeout_s is None else max(0, -(-timeout_s * 1000 // 1))
        if not self._waiting.until(lambda: self._poll.poll(0), lambda: self._poll.poll(patience)):
            return None
        while True:
            try:
                message = self._end.recv(self.replies.length)
            except ConnectionResetError:
                continue  # it did not read all we sent; what it said before it ended is still to come
            except OSError as exc:
                raise LinkLost from exc
            if not message:
                raise LinkLost
            return message

    def close(self) -> None:
        """End the connection."""
        with contextlib.suppress(OSError):
            self._end.close()


def _connected(path: Path, timeout_s: float) -> tuple[socket.socket, Hello]:
    """Connect and read what the worker says first."""
    end = rundir.connect(path, timeout_s, socket.SOCK_SEQPACKET)
    try:
        hello = _read(end.recv(MAX_HELLO))
        end.settimeout(None)
    except BaseException:
        end.close()
        raise
    return end, hello


def _read(greeting: bytes) -> Hello:
    if not greeting:
        raise ProtocolError("its worker ended")
    if not greeting.startswith(b"{"):  # why it takes nobody
        raise ProtocolError(str(Replies(()).unpack(greeting)[2]))
    return Hello.from_bytes(greeting)
