"""`.npz` and `.npy`: nothing is unpickled, and sizes are known before anything is read."""

import zipfile
import zlib
from pathlib import Path

import numpy as np

from edgekit._data.dataset import check_memory
from edgekit.errors import DataError
from edgekit_converters.data import ONLY
from edgekit_converters.model import Array

SUFFIXES = (".npz", ".npy")
_BROKEN = (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error)


def read(path: Path) -> dict[str, Array]:
    """Return a file's arrays by name; that of an `.npy` is called `x`.

    Raises:
        DataError: if it is broken, holds Python objects or is larger than the free memory.
    """
    try:
        return _npz(path) if path.suffix.lower() == ".npz" else _npy(path)
    except _BROKEN as exc:
        if "allow_pickle" in str(exc):
            raise DataError(f"data '{path}' holds Python objects, not numbers; they are never unpickled") from exc
        raise DataError(f"data '{path}' is broken or not what its name says: {exc}") from exc


def _npz(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        check_memory(str(path), sum(entry.file_size for entry in archive.infolist()))
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _npy(path: Path) -> dict[str, Array]:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    check_memory(str(path), mapped.nbytes)
    return {ONLY: np.array(mapped)}
