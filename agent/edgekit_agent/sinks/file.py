"""Answers in a file: one JSON document a line; a full file is set aside, the oldest of those goes."""

import contextlib
import json
import socket
from pathlib import Path
from typing import BinaryIO

from edgekit_agent.sinks.base import Sink, Told
from edgekit_agent.sinks.settings import SinkConfig


class FileSink:
    """`answers.jsonl`, and before it `answers.jsonl.1` (the newest), `.2`, ...

    Answers are no reports: they are handed to the system once a second and not forced onto the disk. What a full disk
    or a missing folder does not take is counted, and the file is opened again.
    """

    kind = "file"

    def __init__(self, path: Path, *, max_bytes: int, keep: int, rate_hz: float = 0.0) -> None:
        """Take the limits: of a file, and how many full ones are kept."""
        self._path, self._max_bytes, self._keep, self.rate_hz = path, max_bytes, keep, rate_hz
        self._file: BinaryIO | None = None
        self._size = 0

    def put(self, told: Told) -> bool:
        """Write a line.

        Raises:
            OSError: if it cannot be written.
        """
        line = json.dumps(told, separators=(",", ":"), allow_nan=False, ensure_ascii=False).encode() + b"\n"
        if len(line) > self._max_bytes:
            return False
        try:
            file = self._opened()
            if self._size + len(line) > self._max_bytes:
                file = self._next()
            file.write(line)
        except OSError:
            self.close()
            raise
        self._size += len(line)
        return True

    def flush(self) -> None:
        """Hand what was written to the system.

        Raises:
            OSError: if the disk is full.
        """
        if self._file is not None:
            try:
                self._file.flush()
            except OSError:
                self.close()
                raise

    def _opened(self) -> BinaryIO:
        if self._file is None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._file = self._path.open("ab")
            self._size = self._file.tell()
            if self._size and not _whole(self._path):
                self._file.write(b"\n")  # a line torn by a power cut stays alone
                self._size += 1
        return self._file

    def _next(self) -> BinaryIO:
        """Set the full file aside and begin a new one."""
        self.close()
        if not self._keep:
            self._path.unlink()
        for number in range(self._keep, 0, -1):
            older = self._path if number == 1 else self._aside(number - 1)
            if older.exists():
                older.replace(self._aside(number))
        return self._opened()

    def _aside(self, number: int) -> Path:
        return self._path.with_name(f"{self._path.name}.{number}")

    def close(self) -> None:
        """Close the file; what the disk has no room for is lost."""
        file, self._file = self._file, None
        if file is not None:
            with contextlib.suppress(OSError):  # told when it was written or flushed
                file.close()


def _whole(path: Path) -> bool:
    with path.open("rb") as file:
        file.seek(-1, 2)
        return file.read(1) == b"\n"


def open_file(config: SinkConfig, _control: socket.socket) -> Sink:
    """Return a sink into a file."""
    return FileSink(
        Path(config.path or ""), max_bytes=int(config.max_mb * 1e6), keep=config.keep, rate_hz=config.rate_hz
    )
