"""What holds around everything that writes to the store: one at a time, and a full disk is a refusal."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from edgekit_agent.fetch.assembly import NO_ROOM
from edgekit_agent.fetch.errors import FetchError
from edgekit_agent.protocol import Reason


@contextmanager
def disk_full() -> Iterator[None]:
    """Turn a disk that takes no more into a refusal."""
    try:
        yield
    except OSError as exc:
        if exc.errno not in NO_ROOM:
            raise
        raise FetchError(Reason.DISK_FULL, f"the disk is full: {exc.strerror}") from exc


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Hold the store's lock; the kernel gives it back however the process ends."""
    folder.mkdir(parents=True, exist_ok=True)
    handle = os.open(folder / "fetch.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as exc:
            raise FetchError(Reason.UPDATE_BUSY, "another update is being fetched") from exc
        yield
    finally:
        os.close(handle)
