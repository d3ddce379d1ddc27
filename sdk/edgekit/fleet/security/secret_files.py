"""Files that hold secrets: nobody but their owner may read them, and they are looked at before they are believed."""

import os
import stat
from pathlib import Path

from edgekit.errors import DataError

MAX_SECRET_BYTES = 4096


def check_private(path: Path) -> None:
    """See that only its owner can read or write a file.

    Raises:
        DataError: if others can, or it is not there.
    """
    try:
        found = path.stat()
    except OSError as exc:
        raise DataError(f"cannot read '{path}': {exc.strerror}") from exc
    if not stat.S_ISREG(found.st_mode):
        raise DataError(f"'{path}' is no file")
    # what a container's engine mounts is root's, and readable for the group that it gives the process
    others = 0o037 if found.st_uid == 0 and os.geteuid() != 0 else 0o077
    if found.st_mode & others:
        error = DataError(f"'{path}' can be read by others: its permissions are {stat.S_IMODE(found.st_mode):04o}")
        error.add_note(f"chmod 600 '{path}', and think of who may have read it")
        raise error
    if found.st_uid not in {0, os.geteuid()}:
        raise DataError(f"'{path}' belongs to somebody else")


def read_secret(path: Path) -> str:
    """Return the text of a secret's file without the end of its line.

    Raises:
        DataError: if it cannot be read, others can read it, or it is empty or longer than 4 KiB.
    """
    check_private(path)
    try:
        with path.open("rb") as file:
            content = file.read(MAX_SECRET_BYTES + 1)
        text = content.decode().rstrip("\r\n")
    except OSError as exc:
        raise DataError(f"cannot read '{path}': {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise DataError(f"'{path}' is no text") from exc
    if not text or len(content) > MAX_SECRET_BYTES:
        raise DataError(f"'{path}' is empty, or longer than {MAX_SECRET_BYTES} bytes")
    return text
