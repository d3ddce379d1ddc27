"""The spool's files: one is written at its end, the others are read or removed."""

import contextlib
import re
from pathlib import Path

from edgekit_agent.durable import Files

_NAME = re.compile(r"(\d{8,12})\.seg")


class Folder:
    """Numbered files in a folder that nobody else writes to; every error is an OSError of the file system."""

    def __init__(self, path: Path, files: Files) -> None:
        """Name the folder; it is made with its first file."""
        self.path, self._files = path, files
        self._number = 0
        self._handle: int | None = None
        self._unflushed = self._names_unflushed = False

    @property
    def writing(self) -> bool:
        """Whether the last file that was made is still open."""
        return self._handle is not None

    def names(self) -> list[str]:
        """Return the files in the order they were made; new ones come after them."""
        found = [name for name in self._files.names(self.path) if _NAME.fullmatch(name)]
        found.sort(key=_number_of)
        self._number = max([self._number, *map(_number_of, found)])
        return found

    def read(self, name: str, size: int, offset: int = 0) -> bytes:
        """Return at most so many bytes of a file."""
        return self._files.read(self.path / name, size, offset)

    def make(self) -> None:
        """Make the folder where there is none."""
        self._files.make_folder(self.path)

    def begin(self) -> str:
        """Make the next file, to write to, and return its name."""
        self.close()
        self.make()
        name = f"{self._number + 1:08}.seg"
        self._handle = self._files.create(self.path / name, 0o600)
        self._number += 1
        self._names_unflushed = True
        return name

    def append(self, data: bytes, size: int) -> None:
        """Write behind the so many bytes of the last file; when that fails it ends there, and is closed."""
        if self._handle is None:
            raise ValueError("no file is open")
        try:
            self._files.write(self._handle, data)
        except OSError:
            with contextlib.suppress(OSError):  # half a record there does no harm, but is counted as lost
                self._files.truncate(self._handle, size)
            with contextlib.suppress(OSError):
                self.sync()
            self.close()
            raise
        self._unflushed = True

    def sync(self) -> None:
        """Flush what was appended, and its name."""
        if self._handle is None or not self._unflushed:
            return
        self._unflushed = False
        try:
            self._files.sync(self._handle)
            self.sync_names()
        except OSError:
            self.close()
            raise

    def sync_names(self) -> None:
        """Flush which files there are."""
        if self._names_unflushed:
            self._files.sync_folder(self.path)
            self._names_unflushed = False

    def close(self) -> None:
        """Write no more to the last file."""
        if self._handle is not None:
            with contextlib.suppress(OSError):
                self._files.close(self._handle)
            self._handle = None

    def remove(self, name: str) -> None:
        """Remove a file that is closed; one that cannot be removed stays."""
        with contextlib.suppress(OSError):
            self._files.remove(self.path / name)
            self._names_unflushed = True


def _number_of(name: str) -> int:
    return int(name.partition(".")[0])
