"""A repository's files, wherever it is: the port, a folder (a USB stick), and what both are opened by."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol
from urllib.parse import unquote, urlsplit

from edgekit_agent.errors import ConfigError
from edgekit_agent.fetch.errors import AbsentError, FetchError, UnreachableError
from edgekit_agent.fetch.messages import FetchRequest
from edgekit_agent.fetch.pace import Pace, Retries
from edgekit_agent.protocol import Reason

CHUNK_BYTES = 1 << 16


class Source(Protocol):
    """Where a repository's files are read."""

    ranges: bool
    """Whether a part of a file can be had without what stands before it."""

    def read(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Give the bytes of a file from `start`, up to `end` or its own end, as they come.

        Raises:
            AbsentError: if there is no such file.
            UnreachableError: if it cannot be read at the moment, or ends before `end`.
            FetchError: on an answer that is refused.
        """
        ...


class FolderSource:
    """A repository in a folder: what a web server would serve, carried by hand."""

    ranges = True

    def __init__(self, folder: Path) -> None:
        """Take the folder with `metadata`, `targets` and `blocks`."""
        self._folder = folder

    def read(self, path: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Give the bytes of a file; see `Source.read`."""
        where = self._folder / path
        at = start
        try:
            # not blocking: opening a pipe somebody put there must not hang
            with os.fdopen(os.open(where, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC), "rb") as file:
                if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
                    raise FetchError(Reason.REPOSITORY_ANSWER_WRONG, f"'{where}' is not a file")
                file.seek(start)
                while chunk := file.read(CHUNK_BYTES if end is None else min(CHUNK_BYTES, end - at)):
                    at += len(chunk)
                    yield chunk
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise AbsentError(f"there is no '{where}'") from exc
        except IsADirectoryError as exc:
            raise FetchError(Reason.REPOSITORY_ANSWER_WRONG, f"'{where}' is not a file") from exc
        except OSError as exc:
            raise UnreachableError(f"cannot read '{where}': {exc.strerror}") from exc
        if end is not None and at < end:
            raise FetchError(Reason.REPOSITORY_ANSWER_WRONG, f"'{where}' ends after {at} bytes, {end} were to be read")


def open_source(request: FetchRequest) -> Source:
    """Return the source for a request's repository URL.

    Raises:
        ConfigError: if the URL has another scheme than http, https and file, or holds a password.
    """
    url = urlsplit(request.repository)
    if url.scheme == "file":
        return FolderSource(Path(unquote(url.path)))
    if url.scheme not in {"http", "https"} or not url.hostname:
        raise ConfigError("the repository's URL must start with http://, https:// or file:///")
    if url.username or url.password or url.query or url.fragment:
        raise ConfigError("the repository's URL may hold no password, query or fragment")
    from edgekit_agent.fetch.http import HttpSource

    return HttpSource(request, Pace(request.min_bytes_per_s, request.window_s))


def read_whole(source: Source, path: str, most_bytes: int) -> bytes:
    """Return a small file.

    Raises:
        FetchError: if there are more than `most_bytes`, or as `Source.read` when all tries have failed.
    """
    retries = Retries()
    while True:
        data = bytearray()
        try:
            for chunk in source.read(path):
                data += chunk
                if len(data) > most_bytes:
                    raise FetchError(Reason.DOWNLOAD_TOO_LONG, f"'{path}' has more than {most_bytes} bytes")
        except UnreachableError as exc:
            retries.failed(exc)
        else:
            return bytes(data)
