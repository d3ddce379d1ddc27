"""Put a finished file in its place: never half of one."""

import os
from pathlib import Path


def place(data: bytes, target: Path) -> None:
    """Write beside the target and rename.

    Raises:
        OSError: if the folder cannot be written or the disk is full.
    """
    beside = target.with_name(target.name + ".part")
    try:
        with beside.open("wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        beside.replace(target)
    except OSError:
        beside.unlink(missing_ok=True)
        raise
