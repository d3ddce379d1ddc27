"""The table of what data may be, and the one function that loads it."""

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np

from edgekit._data import archives, folders, function, table
from edgekit._data.dataset import DataSet, from_arrays
from edgekit.errors import DataError, UsageError
from edgekit_agent.preprocess import Preprocess
from edgekit_converters import user_function
from edgekit_converters.data import ONLY
from edgekit_converters.model import Array

_SLICE = re.compile(r"(?P<path>.+?)(?:\[(?P<start>-?\d*):(?P<stop>-?\d*)\])?")

# suffix -> what reads such a file
FILES: Mapping[str, Callable[[Path, Preprocess], dict[str, Array]]] = MappingProxyType(
    {
        ".npz": lambda path, _: archives.read(path),
        ".npy": lambda path, _: archives.read(path),
        ".csv": table.read,
        ".wav": lambda path, how: {ONLY: folders.sound_reader(how)(path)[np.newaxis]},
    }
)


def load(spec: str, preprocess: Preprocess | None = None) -> DataSet:
    """Load data as `PATH` or `PATH[start:stop]`.

    Args:
        spec: `.npz` (arrays named as the model's inputs or `x`; labels `y`), `.npy`, `.csv`, `.wav`, a folder of
            images or `.wav` files (a sub-folder's name is its class) or of `.npy` samples, or
            `package.module:function`.
        preprocess: how an image, a sound or a table's row becomes an array.

    Raises:
        UsageError: if the slice cannot be read.
        DataError: if the data is missing, broken, empty or too large for the memory.
    """
    match = _SLICE.fullmatch(spec)
    if match is None or (spec.endswith("]") and match["start"] is None and match["stop"] is None):
        raise UsageError(f"'{spec}' is not a path with an optional slice such as data.npz[0:200]")
    path, how = Path(match["path"]), preprocess or Preprocess()
    window = slice(*(int(text) if text else None for text in (match["start"], match["stop"])))
    if path.is_dir():
        return folders.read(spec, path, window, how)
    if user_function.is_function_name(match["path"]) and not path.exists():
        named, window = function.read(match["path"], window)
        return from_arrays(spec, named, window)
    if not path.exists():
        raise DataError(f"data '{path}' does not exist")
    reader = FILES.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data '{path}' is none of {', '.join(FILES)}, nor a folder nor package.module:function")
    return from_arrays(spec, reader(path, how), window)
