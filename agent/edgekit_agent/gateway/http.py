"""One HTTP/1.1 connection: requests within limits of size and time, and their answers."""

import contextlib
import json
import socket
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import h11

from edgekit_agent.gateway.errors import Headers, HttpError

MAX_HEAD = 16 << 10
IDLE_S, HEAD_S, SEND_S = 60.0, 10.0, 30.0
SLOWEST_BYTES_S = 64 << 10
LINGER_S = 1.0
_CHUNK = 1 << 18


@dataclass(frozen=True, slots=True, kw_only=True)
class HttpRequest:
    """A whole request; header names are in small letters."""

    method: str
    target: str
    headers: dict[str, str]
    body: memoryview


class Gone(Exception):  # noqa: N818  # no error of ours
    """The other side has ended the connection, or is too slow."""


class HttpConnection:
    """Reads requests and writes answers; h11 does the parsing."""

    def __init__(self, end: socket.socket, max_body: int) -> None:
        """Take an accepted connection."""
        self._end, self._max_body = end, max_body
        self._state = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_HEAD)
        self._chunked = False
        end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def read(self) -> HttpRequest:
        """Return the next request.

        Raises:
            Gone: if there is none.
            HttpError: if it is wrong, too large or too slow; the connection can be used for the answer only.
        """
        try:
            head = self._head()
            headers = {name.decode(): value.decode("latin-1") for name, value in head.headers}
            if len(head.target) + sum(len(name) + len(value) for name, value in head.headers) > MAX_HEAD:
                raise HttpError(431, f"the head of the request has more than {MAX_HEAD} bytes")
            return HttpRequest(
                method=head.method.decode(), target=head.target.decode(), headers=headers, body=self._body(headers)
            )
        except h11.RemoteProtocolError as exc:
            raise HttpError(exc.error_status_hint, f"the request is no HTTP: {exc}") from exc

    def _head(self) -> h11.Request:
        """Wait for a request, and give it little time from its first byte on."""
        until, begun = time.monotonic() + IDLE_S, False
        while True:
            event = self._state.next_event()
            if isinstance(event, h11.Request):
                return event
            if isinstance(event, h11.ConnectionClosed):
                raise Gone
            if not begun and self._state.trailing_data[0]:  # of a request behind the last
                until, begun = time.monotonic() + HEAD_S, True
            self._fill(until, begun=begun)

    def _body(self, headers: dict[str, str]) -> memoryview:
        length = int(headers.get("content-length", "0"))
        if length > self._max_body:
            raise HttpError(413, f"the body has {length} bytes, the limit is {self._max_body}")
        if headers.get("content-encoding", "identity") != "identity":
            raise HttpError(415, "compressed bodies are not taken")
        if self._state.they_are_waiting_for_100_continue:
            self._send([self._state.send(h11.InformationalResponse(status_code=100, headers=[]))])
        until = time.monotonic() + HEAD_S + length / SLOWEST_BYTES_S
        pieces: list[bytes] = []
        size = 0
        while True:
            event = self._state.next_event()
            if isinstance(event, h11.Data):
                size += len(event.data)
                if size > self._max_body:
                    raise HttpError(413, f"the body has more than {self._max_body} bytes")
                pieces.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return memoryview(pieces[0] if len(pieces) == 1 else b"".join(pieces))
            elif isinstance(event, h11.ConnectionClosed):
                raise Gone
            else:
                self._fill(until, begun=True)

    def _fill(self, until: float, *, begun: bool) -> None:
        """Take in more bytes; one that is too slow is told so, where it has begun."""
        try:
            self._end.settimeout(max(0.001, until - time.monotonic()))
            self._state.receive_data(self._end.recv(_CHUNK))
        except TimeoutError:
            if begun:
                raise HttpError(408, "the request takes too long") from None
            raise Gone from None
        except OSError as exc:
            raise Gone from exc

    # --- answers

    def answer(self, status: int, pieces: Sequence[bytes], headers: Headers) -> None:
        """Write a whole answer.

        Raises:
            Gone: if the other side has gone or does not read.
        """
        length = ("Content-Length", str(sum(map(len, pieces))))
        head = self._state.send(self._response(status, [*headers, length]))
        body = [self._state.send(h11.Data(data=piece)) for piece in pieces if piece]
        self._send([head, *body, self._state.send(h11.EndOfMessage())])

    def error(self, exc: HttpError) -> None:
        """Write what went wrong as `{"error": ...}`.

        Raises:
            Gone: if the other side has gone, or an answer has begun.
        """
        if self._state.our_state not in {h11.IDLE, h11.SEND_RESPONSE}:
            raise Gone
        body = json.dumps({"error": str(exc)}).encode()
        self.answer(exc.status, [body], [("Content-Type", "application/json"), *exc.headers])

    def begin(self, content_type: str) -> None:
        """Begin an answer whose length is not known; `piece` and `finish` follow.

        Raises:
            Gone: if the other side has gone.
        """
        headers = [("Content-Type", content_type), ("Cache-Control", "no-store")]
        self._send([self._state.send(self._response(200, headers))])

    def piece(self, data: bytes) -> None:
        """Write a piece of it.

        Raises:
            Gone: if the other side has gone or does not read.
        """
        self._send([self._state.send(h11.Data(data=data))])

    def finish(self) -> None:
        """End it.

        Raises:
            Gone: if the other side has gone.
        """
        self._send([self._state.send(h11.EndOfMessage())])

    def next(self) -> bool:
        """Get ready for another request; say whether there can be one."""
        if self._state.our_state is h11.DONE and self._state.their_state is h11.DONE:
            self._state.start_next_cycle()
            return True
        return False

    def close(self) -> None:
        """End the connection, so that an answer to a request that was not read to its end arrives all the same."""
        end_s = time.monotonic() + LINGER_S
        with contextlib.suppress(OSError):
            self._end.shutdown(socket.SHUT_WR)
            self._end.settimeout(LINGER_S)
            while time.monotonic() < end_s and self._end.recv(_CHUNK):
                pass
        self._end.close()

    @staticmethod
    def _response(status: int, headers: Iterable[tuple[str, str]]) -> Any:  # noqa: ANN401  # h11's
        return h11.Response(status_code=status, headers=list(headers), reason=HTTPStatus(status).phrase.encode())

    def _send(self, pieces: Iterable[bytes | None]) -> None:
        try:
            self._end.settimeout(SEND_S)
            self._end.sendall(b"".join(piece for piece in pieces if piece))
        except OSError as exc:
            raise Gone from exc
