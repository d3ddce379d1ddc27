"""The supervisor's control socket: one line asks, one JSON document answers, and the connection ends.

It never blocks and never grows: few clients, short questions, and one that is slow is dropped.
"""

import contextlib
import json
import selectors
import socket
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent import rundir
from edgekit_agent.errors import AgentAwayError

MOST_CLIENTS = 8
MOST_QUESTION_BYTES = 1024
MOST_ANSWER_BYTES = 4 << 20
PATIENCE_S = 5.0
_CHUNK = 65536

Answer = Callable[[str], dict[str, object]]


@dataclass(slots=True)
class _Client:
    end_s: float
    question: bytes = b""
    answer: memoryview | None = None


class ControlServer:
    """Answers on a UNIX socket that only its owner may open; `fileno` is readable when `poll` has something to do."""

    def __init__(self, path: Path, answer: Answer) -> None:
        """Listen.

        Args:
            path: of the socket.
            answer: takes a question without its line end and returns the document.

        Raises:
            OSError: if it cannot be made.
        """
        self._path, self._answer = path, answer
        self._clients: dict[socket.socket, _Client] = {}
        self._listener = rundir.listen(path, 0o600)
        self._listener.setblocking(False)  # noqa: FBT003  # the standard library's own
        self._selector = selectors.EpollSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)

    def fileno(self) -> int:
        """Return a descriptor to select on: an epoll of all connections."""
        return self._selector.fileno()

    def next_time(self) -> float | None:
        """Return when a slow client is to be dropped, on the steady clock."""
        return min((client.end_s for client in self._clients.values()), default=None)

    def poll(self, now_s: float) -> None:
        """Do what can be done without waiting, and drop who took too long."""
        for key, _ in self._selector.select(0):
            connection = key.fileobj
            assert isinstance(connection, socket.socket)  # noqa: S101  # only sockets are registered
            if connection is self._listener:
                self._accept(now_s)
            else:
                try:
                    self._serve(connection)
                except BlockingIOError:
                    continue
                except OSError:
                    self._drop(connection)
        for connection, client in list(self._clients.items()):
            if client.end_s <= now_s:
                self._drop(connection)

    def close(self) -> None:
        """Drop everyone and take the socket away."""
        for connection in list(self._clients):
            self._drop(connection)
        self._selector.close()
        self._listener.close()
        with contextlib.suppress(OSError):
            self._path.unlink()

    def _accept(self, now_s: float) -> None:
        with contextlib.suppress(OSError):  # it is gone again, or there are no descriptors left
            connection, _ = self._listener.accept()
            if len(self._clients) == MOST_CLIENTS:
                connection.close()
                return
            connection.setblocking(False)  # noqa: FBT003  # the standard library's own
            self._clients[connection] = _Client(now_s + PATIENCE_S)
            self._selector.register(connection, selectors.EVENT_READ)

    def _serve(self, connection: socket.socket) -> None:
        """Read the rest of a question, or write the rest of an answer; raise OSError to drop the client."""
        client = self._clients[connection]
        if client.answer is None:
            chunk = connection.recv(MOST_QUESTION_BYTES)
            client.question += chunk
            if not chunk or len(client.question) > MOST_QUESTION_BYTES:
                raise OSError
            line, end, _ = client.question.partition(b"\n")
            if not end:
                return
            document = json.dumps(self._answer(line.decode(errors="replace"))).encode()
            client.answer = memoryview(document + b"\n")
            self._selector.modify(connection, selectors.EVENT_WRITE)
        sent = connection.send(client.answer[:_CHUNK])
        client.answer = client.answer[sent:]
        if not client.answer:
            self._drop(connection)

    def _drop(self, connection: socket.socket) -> None:
        del self._clients[connection]
        self._selector.unregister(connection)
        connection.close()


def ask(path: Path, question: str, timeout_s: float = PATIENCE_S) -> dict[str, object]:
    """Ask the agent that listens at a path.

    Raises:
        AgentAwayError: if none listens there, or it does not answer.
    """
    answer = b""
    try:
        with rundir.connect(path, timeout_s) as connection:
            connection.sendall(question.encode() + b"\n")
            while chunk := connection.recv(_CHUNK):
                answer += chunk
                if len(answer) > MOST_ANSWER_BYTES:
                    raise AgentAwayError(f"'{path}' answers with more than {MOST_ANSWER_BYTES} bytes")
        found = json.loads(answer)
    except OSError as exc:
        raise AgentAwayError(f"no agent answers at '{path}': {exc.strerror or exc}") from exc
    except (ValueError, RecursionError) as exc:
        raise AgentAwayError(f"what answers at '{path}' is no agent") from exc
    if not isinstance(found, dict):
        raise AgentAwayError(f"what answers at '{path}' is no agent")
    return found
