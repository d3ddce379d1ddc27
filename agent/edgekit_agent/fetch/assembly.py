"""A target put together from blocks: those a device has somewhere are copied, the rest is downloaded.

The file has its full size from the start. Which of its blocks are there is read off its bytes by their hashes, so after
a kill or a power cut no notes are needed to go on from: at most what had not reached the disk comes again.
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from errno import EDQUOT, EFBIG, ENOSPC
from itertools import takewhile
from pathlib import Path

from edgekit_agent.fetch.errors import FetchError, UnreachableError
from edgekit_agent.fetch.messages import BlockCounts
from edgekit_agent.fetch.pace import Retries
from edgekit_agent.fetch.source import Source
from edgekit_agent.protocol import Block, BlockIndex, Reason

SYNC_BYTES = 4 << 20
NO_ROOM = frozenset({ENOSPC, EDQUOT, EFBIG})
_READ_BYTES = 1 << 20


class Assembly:
    """The file, and the blocks it lacks."""

    def __init__(self, handle: int, index: BlockIndex, on_progress: Callable[[int, int], None]) -> None:
        """Take an open file of the target's size and look what is in it."""
        self._handle = handle
        self._index = index
        self._on_progress = on_progress
        self._unsynced = 0
        self.missing = {block.offset: block for block in index if not block.holds(self._at(block))}
        self.resumed = len(index) - len(self.missing)
        self._done = index.length - sum(block.length for block in self.missing.values())
        self.reused = 0
        self.fetched_bytes = 0

    def reuse(self, targets: Iterable[tuple[Path, BlockIndex]]) -> None:
        """Copy what other targets hold; a block that is damaged there is passed over."""
        wanted: dict[bytes, list[Block]] = {}
        for block in self.missing.values():
            wanted.setdefault(block.sha256, []).append(block)
        for path, index in targets:
            with path.open("rb") as file:
                for there in index:
                    if there.sha256 not in wanted:
                        continue
                    data = os.pread(file.fileno(), there.length, there.offset)
                    for block in wanted.pop(there.sha256) if there.holds(data) else ():
                        self._write(block, data)
                        self.reused += 1

    def fetch(self, source: Source, path: str) -> None:
        """Download what is missing, one request a run of neighbours.

        Raises:
            FetchError: if a block is not what was signed, or as `Source.read` when all tries have failed.
            OSError: if it cannot be written.
        """
        retries = Retries()
        while self.missing:
            before = len(self.missing)
            try:
                self._fetch_run(source, path, self._next_run(source))
            except UnreachableError as exc:
                if len(self.missing) < before:
                    retries.progressed()
                retries.failed(exc)
            else:
                retries.progressed()

    def verify(self, sha256: str) -> None:
        """Check the whole file and flush it to the disk.

        Raises:
            FetchError: if it is not the target that was signed.
        """
        whole = hashlib.sha256()
        for at in range(0, self._index.length, _READ_BYTES):
            whole.update(os.pread(self._handle, _READ_BYTES, at))
        if whole.hexdigest() != sha256:
            raise FetchError(
                Reason.DOWNLOAD_DAMAGED, f"the target's SHA-256 is {whole.hexdigest()}, {sha256} was signed"
            )
        os.fsync(self._handle)

    def counts(self) -> BlockCounts:
        """Return where the blocks came from so far."""
        total = len(self._index)
        fetched = total - len(self.missing) - self.resumed - self.reused
        return BlockCounts(total=total, reused=self.reused, resumed=self.resumed, fetched=fetched)

    def _next_run(self, source: Source) -> list[Block]:
        first, last = min(self.missing), max(self.missing)
        rest = [block for block in self._index if first <= block.offset <= last]
        if not source.ranges:  # all of it comes anyway
            return rest
        return list(takewhile(lambda block: block.offset in self.missing, rest))

    def _fetch_run(self, source: Source, path: str, run: list[Block]) -> None:
        blocks = iter(run)
        block: Block | None = next(blocks)
        pending = bytearray()
        for chunk in source.read(path, run[0].offset, run[-1].offset + run[-1].length):
            pending += chunk
            self.fetched_bytes += len(chunk)
            while block is not None and len(pending) >= block.length:
                data = bytes(pending[: block.length])
                del pending[: block.length]
                if not block.holds(data):
                    raise FetchError(
                        Reason.DOWNLOAD_DAMAGED, f"'{path}': the block at {block.offset} is not what was signed"
                    )
                if block.offset in self.missing:
                    self._write(block, data)
                block = next(blocks, None)

    def _write(self, block: Block, data: bytes) -> None:
        rest, at = memoryview(data), block.offset
        while rest:
            written = os.pwrite(self._handle, rest, at)
            rest, at = rest[written:], at + written
        del self.missing[block.offset]
        self._unsynced += block.length
        if self._unsynced >= SYNC_BYTES:
            os.fdatasync(self._handle)
            self._unsynced = 0
        self._done += block.length
        self._on_progress(self._done, self._index.length)

    def _at(self, block: Block) -> bytes:
        return os.pread(self._handle, block.length, block.offset)


@contextmanager
def assembling(path: Path, index: BlockIndex, on_progress: Callable[[int, int], None]) -> Iterator[Assembly]:
    """Open the file of a download, or make it with room on the disk for all of it.

    Raises:
        OSError: if it cannot be made that large; with no room left, what there is of it is removed.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(handle).st_size != index.length:
            os.ftruncate(handle, 0)
            if index.length:
                os.posix_fallocate(handle, 0, index.length)
        yield Assembly(handle, index, on_progress)
    except OSError as exc:
        if exc.errno in NO_ROOM:
            path.unlink()
        raise
    finally:
        os.close(handle)
