"""A web server for a repository on this machine, to try things out; it gives ranges, as any real one does."""

import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from edgekit.errors import EnvironmentMissingError
from edgekit.repo._metadata import Repository
from edgekit_agent import __version__

HOST = "127.0.0.1"
SHOWN = ("metadata", "targets", "blocks")
_CHUNK_BYTES = 1 << 16
_RANGE = re.compile(r"bytes=(\d{1,18})-(\d{0,18})")


class RepositoryHandler(BaseHTTPRequestHandler):
    """GET and HEAD of a repository's files: nothing else of the folder, and no listing."""

    folder: Path
    protocol_version = "HTTP/1.1"
    server_version = f"edgekit/{__version__}"
    timeout = 60

    def do_GET(self) -> None:
        """Send a file, or the part of it that is asked for."""
        self.answer(body=True)

    def do_HEAD(self) -> None:
        """Send what a GET would begin with."""
        self.answer(body=False)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the standard library's names
        """Say nothing: libraries do not print."""

    def answer(self, *, body: bool) -> None:
        """Answer a GET or HEAD."""
        file = self._open()
        if file is None:
            self.send_error(HTTPStatus.NOT_FOUND)
            return
        with file:
            size = os.fstat(file.fileno()).st_size
            wanted = _RANGE.fullmatch(self.headers.get("Range", ""))
            start, end = (int(wanted[1]), min(int(wanted[2] or size) + 1, size)) if wanted else (0, size)
            if wanted and start >= end:
                self.send_error(HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE)
                return
            self.send_response(HTTPStatus.PARTIAL_CONTENT if wanted else HTTPStatus.OK)
            if wanted:
                self.send_header("Content-Range", f"bytes {start}-{end - 1}/{size}")
            self.send_header("Accept-Ranges", "bytes")
            self.send_header("Content-Type", "application/octet-stream")
            self.send_header("Content-Length", str(end - start))
            self.end_headers()
            if body:
                self.send_part(file, start, end)

    def send_part(self, file: BinaryIO, start: int, end: int) -> None:
        """Send the bytes of a file from `start` up to `end`."""
        file.seek(start)
        while start < end and (chunk := file.read(min(_CHUNK_BYTES, end - start))):
            self.wfile.write(chunk)
            start += len(chunk)

    def _open(self) -> BinaryIO | None:
        try:
            folder = self.folder.resolve()
            path = (folder / unquote(urlsplit(self.path).path).lstrip("/")).resolve()
            below = path.relative_to(folder).parts
            if not below or below[0] not in SHOWN or any(part.startswith(".") for part in below):
                return None
            handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except (OSError, ValueError):
            return None
        if stat.S_ISREG(os.fstat(handle).st_mode):
            return os.fdopen(handle, "rb")
        os.close(handle)
        return None


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """Pass over a client that went away."""


@contextmanager
def serving(folder: Path, port: int = 0, handler: type[RepositoryHandler] = RepositoryHandler) -> Iterator[str]:
    """Serve a repository on 127.0.0.1 while the block runs, and give its URL.

    Args:
        folder: the repository.
        port: 0 takes a free one.
        handler: answers the requests; one that misbehaves shows what a device does then.

    Raises:
        DataError: if the folder holds no repository.
        EnvironmentMissingError: if the port is taken.
    """
    Repository(folder).root()
    mine = type("Handler", (handler,), {"folder": folder})
    try:
        server = _Server((HOST, port), mine)
    except OSError as exc:
        raise EnvironmentMissingError(f"cannot listen on {HOST}:{port}: {exc.strerror}") from exc
    with server:
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
        thread.start()
        try:
            yield f"http://{HOST}:{server.server_address[1]}"
        finally:
            server.shutdown()
            thread.join()
