"""Small files that survive a power cut: written beside, flushed, renamed, and the folder flushed too."""

import contextlib
import json
import os
from collections.abc import Iterable
from pathlib import Path

_MAX_BYTES = 1 << 20
_MAX_BIRTH = 2**53


def write_durably(path: Path, content: bytes | Iterable[bytes], mode: int = 0o644) -> None:
    """Replace a file's content, given whole or in parts, so that after a crash it is the old or the new, whole.

    Raises:
        OSError: if it cannot be written; the old file is untouched.
    """
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    handle = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
    try:
        with os.fdopen(handle, "wb") as file:
            file.writelines((content,) if isinstance(content, bytes) else content)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(path)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Make the names in a folder last over a crash, where its file system can."""
    with contextlib.suppress(OSError):  # some cannot flush a folder
        opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(opened)
        finally:
            os.close(opened)


def next_birth(folder: Path) -> int:
    """Return the device's next birth number and keep it: 1, 2, 3, ... over restarts.

    A broken or missing counter starts again at 1; it only has to differ from the last will's.

    Raises:
        OSError: if the folder cannot be made or written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "birth.json"
    last = 0
    with contextlib.suppress(OSError, ValueError, RecursionError):
        text = path.read_bytes()[:_MAX_BYTES]
        found = json.loads(text)
        birth = found.get("birth") if isinstance(found, dict) else None
        last = birth if type(birth) is int and 0 < birth < _MAX_BIRTH else 0
    write_durably(path, json.dumps({"birth": last + 1}).encode())
    return last + 1
