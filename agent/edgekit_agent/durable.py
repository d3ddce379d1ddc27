"""Every write that must survive a power cut goes through here; docs/adr/0025-spool.md says what may survive one.

A file is written beside its place, flushed, renamed, and the folder is flushed too: after a crash at any moment it is
the old or the new one, whole. State that must not be lost to a bad sector either keeps two generations.
"""

import contextlib
import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from errno import EDQUOT, EINVAL, EIO, ENOSPC, ENOTSUP, EROFS
from functools import partial
from pathlib import Path
from typing import Any, Protocol

MAX_STATE_BYTES = 1 << 20
NO_ROOM = frozenset({ENOSPC, EDQUOT, EROFS, EIO})
"""Errors of a disk that takes no more: an agent goes on in memory."""
_PART = ".part"


class Files:
    """The file system as durable writes use it; tests put one in its place that loses its power at any moment."""

    def create(self, path: Path, mode: int) -> int:
        """Open a new or emptied file for writing and return its handle."""
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)

    def write(self, handle: int, data: bytes) -> None:
        """Write all of it where the last write ended."""
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(handle, rest) :]

    def truncate(self, handle: int, size: int) -> None:
        """Cut the file, and go on writing there."""
        os.ftruncate(handle, size)
        os.lseek(handle, size, os.SEEK_SET)

    def sync(self, handle: int) -> None:
        """Flush a file's content to the disk."""
        os.fsync(handle)

    def close(self, handle: int) -> None:
        """Close a file."""
        os.close(handle)

    def rename(self, source: Path, target: Path) -> None:
        """Give a file another name, in place of a file of that name."""
        source.replace(target)

    def remove(self, path: Path) -> None:
        """Take a file's name away."""
        path.unlink()

    def make_folder(self, path: Path) -> None:
        """Make a folder, for its owner only, where there is none; its name is safe too."""
        if not path.is_dir():
            path.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.sync_folder(path.parent)

    def sync_folder(self, path: Path) -> None:
        """Flush a folder's names to the disk, where its file system can."""
        handle = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        except OSError as exc:
            if exc.errno not in {EINVAL, ENOTSUP}:
                raise
        finally:
            os.close(handle)

    def read(self, path: Path, size: int, offset: int = 0) -> bytes:
        """Return at most so many bytes of a file."""
        with path.open("rb") as file:
            file.seek(offset)
            return file.read(size)

    def names(self, folder: Path) -> list[str]:
        """Return the names in a folder, sorted; none where there is no folder."""
        with contextlib.suppress(FileNotFoundError):
            return sorted(os.listdir(folder))  # noqa: PTH208  # names, not paths
        return []


DISK = Files()


@contextlib.contextmanager
def writing(
    path: Path, *, mode: int = 0o644, previous: Path | None = None, files: Files = DISK
) -> Iterator[Callable[[bytes], None]]:
    """Give a function that writes a file in pieces; the file has its name when the block ends.

    When the block raises, nothing has happened.

    Args:
        path: what is replaced, or new.
        mode: its permissions, less the process's umask.
        previous: the name under which the old content stays.
        files: the file system.

    Raises:
        OSError: if it cannot be written; the old file is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}{_PART}")
    handle = files.create(beside, mode)
    try:
        try:
            yield partial(files.write, handle)
            files.sync(handle)
        finally:
            files.close(handle)
        if previous is not None:
            with contextlib.suppress(FileNotFoundError):
                files.rename(path, previous)
        files.rename(beside, path)
    except BaseException:
        with contextlib.suppress(OSError):
            files.remove(beside)
        raise
    files.sync_folder(path.parent)


def write_durably(path: Path, content: bytes | Iterable[bytes], mode: int = 0o644, files: Files = DISK) -> None:
    """Replace a file's content, given whole or in parts, so that after a crash it is the old or the new, whole.

    Raises:
        OSError: if it cannot be written; the old file is untouched.
    """
    with writing(path, mode=mode, files=files) as write:
        for part in (content,) if isinstance(content, bytes) else content:
            write(part)


def sweep(folder: Path, files: Files = DISK) -> list[str]:
    """Remove what writes that were cut off have left in a folder; return the names.

    Only for a folder that nobody else writes to, as one that is `held`.
    """
    left = [name for name in files.names(folder) if name.startswith(".") and name.endswith(_PART)]
    for name in left:
        with contextlib.suppress(OSError):
            files.remove(folder / name)
    return left


@contextlib.contextmanager
def held(path: Path) -> Iterator[None]:
    """Hold a lock that ends with the process, however it ends: the kernel's, on a file that stays and means nothing.

    Raises:
        BlockingIOError: if another process holds it.
        OSError: if the file cannot be made.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    finally:
        os.close(handle)


@dataclass(frozen=True, slots=True)
class Kept:
    """What a state file holds; `doubt` says why this may not be what was written last."""

    value: Mapping[str, Any] | None
    doubt: str | None = None


class Keeper(Protocol):
    """Keeps one JSON object: a `StateFile`, or memory where nothing has to last."""

    def load(self) -> Kept:
        """Return what was saved last."""
        ...

    def save(self, value: Mapping[str, Any]) -> None:
        """Replace it.

        Raises:
            OSError: if it cannot be kept.
            ValueError: if it is no JSON.
        """
        ...


class StateFile:
    """A JSON object in a file with its checksum inside; the one before it stays beside as `NAME.prev`."""

    def __init__(self, path: Path, *, mode: int = 0o600, files: Files = DISK) -> None:
        """Name the file; its folder has to exist when it is saved."""
        self._path, self._previous = path, path.with_name(path.name + ".prev")
        self._mode, self._files = mode, files
        self._generation = 0
        self._whole: bool | None = None  # whether the file is good, or not there: None before it was looked at

    def load(self) -> Kept:
        """Return what was saved last, or before that where the last is torn or lost; None where there is neither."""
        newest, wrong = self._read(self._path)
        self._whole = newest is not None or wrong == _MISSING
        older, older_wrong = (None, "") if newest is not None else self._read(self._previous)
        found = newest or older
        self._generation = found[0] if found else 0
        if newest is not None:
            return Kept(newest[1])
        if older is not None:
            return Kept(older[1], f"'{self._path}' {wrong}: the one before it is used")
        if wrong == older_wrong == _MISSING:
            return Kept(None)
        return Kept(None, f"'{self._path}' {wrong}, and the one before it {older_wrong}")

    def save(self, value: Mapping[str, Any]) -> None:
        """Replace the content; the old content stays as the previous generation, unless it is broken.

        Raises:
            OSError: if it cannot be written; what was saved before is still there.
            ValueError: if the value is no JSON, or more than 1 MiB of it.
        """
        if self._whole is None:
            self.load()
        generation = self._generation + 1
        body = {"generation": generation, "sha256": _digest(generation, value), "state": dict(value)}
        content = json.dumps(body, allow_nan=False).encode()
        if len(content) > MAX_STATE_BYTES:
            raise ValueError(f"'{self._path}' would have {len(content)} bytes, the limit is {MAX_STATE_BYTES}")
        previous = self._previous if self._whole else None
        with writing(self._path, mode=self._mode, previous=previous, files=self._files) as write:
            write(content)
        self._generation, self._whole = generation, True

    def _read(self, path: Path) -> tuple[tuple[int, Mapping[str, Any]] | None, str]:
        """Return generation and value, or None and what is wrong."""
        try:
            body = json.loads(self._files.read(path, MAX_STATE_BYTES))
            generation, digest, value = body["generation"], body["sha256"], body["state"]
        except FileNotFoundError:
            return None, _MISSING
        except OSError as exc:
            return None, f"cannot be read ({exc.strerror})"
        except (ValueError, TypeError, KeyError, RecursionError):
            return None, _BROKEN
        if type(generation) is not int or not isinstance(value, dict) or digest != _digest(generation, value):
            return None, _BROKEN
        return (generation, value), ""


_MISSING, _BROKEN = "is missing", "is broken"


def _digest(generation: int, value: Mapping[str, Any]) -> str:
    text = json.dumps([generation, value], sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()
