"""What a runtime has compiled, kept on the disk for the next start: a folder for each model, runtime and device.

A broken cache never stops a model and never changes its results. Files are taken only when they are those that were
there after the last load that ended well (by digest: OpenVINO looks at no checksum); a load that took its process with
it leaves a mark, and the next one begins with an empty folder. What was used longest ago goes first when all of it is
larger than the limit.
"""

import contextlib
import fcntl
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

from edgekit_agent.durable import write_durably

MAX_BYTES = 512 << 20
WAIT_S = 10.0
"""How long a load waits for another worker's of the same model; then it goes without the cache."""
_DIGESTS, _LOADING, _LOCK = "digests.json", "loading", "lock"
_OWN = frozenset({_DIGESTS, _LOADING, _LOCK})
_MAX_LIST_BYTES = 1 << 20


def folder_for(root: Path, *key: str) -> Path:
    """Return the folder for a key; none is made."""
    return root / hashlib.sha256(json.dumps(key).encode()).hexdigest()[:32]


@contextlib.contextmanager
def used(folder: Path) -> Iterator[Path]:
    """Give a folder for one load, with nothing in it that is not whole; a load that raises leaves it empty.

    Raises:
        OSError: if it cannot be used: another worker loads from it for too long, or the disk takes nothing.
    """
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    with _locked(folder / _LOCK):
        if (folder / _LOADING).exists() or not _whole(folder):
            _clear(folder)
        (folder / _LOADING).touch()
        try:
            yield folder
            write_durably(folder / _DIGESTS, json.dumps(_digests(folder)).encode())
        except BaseException:
            _clear(folder)
            raise
        (folder / _LOADING).unlink()
    os.utime(folder)
    trim(folder.parent)


def trim(root: Path, max_bytes: int = MAX_BYTES) -> list[str]:
    """Remove the folders used longest ago until the rest fits; return their names."""
    folders = [one for one in root.iterdir() if one.is_dir()]
    sizes = {one: sum(file.stat().st_size for file in one.iterdir() if file.is_file()) for one in folders}
    removed: list[str] = []
    for folder in sorted(folders, key=lambda one: one.stat().st_mtime):
        if sum(sizes.values()) <= max_bytes:
            break
        del sizes[folder]
        shutil.rmtree(folder, ignore_errors=True)
        removed.append(folder.name)
    return removed


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the kernel's lock, which ends with the process."""
    handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
    try:
        end = time.monotonic() + WAIT_S
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > end:
                    raise
                time.sleep(0.05)
        yield
    finally:
        os.close(handle)


def _files(folder: Path) -> list[Path]:
    return sorted(one for one in folder.iterdir() if one.name not in _OWN)


def _digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in _files(folder):
        with path.open("rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def _whole(folder: Path) -> bool:
    """Say whether the files are those that a load has left."""
    try:
        with (folder / _DIGESTS).open("rb") as file:
            known = json.loads(file.read(_MAX_LIST_BYTES))
        return bool(known == _digests(folder))
    except (OSError, ValueError, RecursionError):
        return False


def _clear(folder: Path) -> None:
    for path in (*_files(folder), folder / _DIGESTS, folder / _LOADING):
        with contextlib.suppress(OSError):
            shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
