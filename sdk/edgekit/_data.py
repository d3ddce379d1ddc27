"""Load a user's data: `.npz`, `.npy`, a folder of images or of `.npy` files, with an optional slice."""

import os
import re
import zipfile
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from edgekit.errors import DataError, UsageError
from edgekit_converters.data import ONLY
from edgekit_converters.model import Array, Arrays

if TYPE_CHECKING:
    from edgekit_agent.preprocess import Preprocess

LABELS = "y"
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
_SLICE = re.compile(r"(?P<path>.+?)(?:\[(?P<start>-?\d*):(?P<stop>-?\d*)\])?")


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Samples by input name (or `x`), each [N, ...], and their class numbers [N] when there are labels."""

    spec: str
    arrays: Arrays
    labels: Array | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.arrays.values())))


def load(spec: str, preprocess: "Preprocess | None" = None) -> DataSet:
    """Load data as `PATH` or `PATH[start:stop]`.

    Args:
        spec: `.npz` (arrays named as the model's inputs or `x`; labels `y`), `.npy`, or a folder of
            images (a sub-folder's name is its class) or of `.npy` samples.
        preprocess: how an image becomes an array; only for folders of images.

    Raises:
        UsageError: if the slice cannot be read.
        DataError: if the file is missing, broken, empty or too large for the memory.
    """
    match = _SLICE.fullmatch(spec)
    if match is None or (spec.endswith("]") and match["start"] is None and match["stop"] is None):
        raise UsageError(f"'{spec}' is not a path with an optional slice such as data.npz[0:200]")
    path = Path(match["path"])
    window = slice(*(int(text) if text else None for text in (match["start"], match["stop"])))
    if not path.exists():
        raise DataError(f"data '{path}' does not exist")
    if path.is_dir():
        data = _folder(spec, path, window, preprocess)
    elif path.suffix.lower() in _READERS:
        arrays = _read(path)
        labels = arrays.pop(LABELS, None) if path.suffix.lower() == ".npz" else None
        _check_counts(path, arrays, labels)
        cut = {name: array[window] for name, array in arrays.items()}
        data = DataSet(spec=spec, arrays=cut, labels=None if labels is None else _class_numbers(path, labels)[window])
    else:
        error = DataError(f"data '{path}' is neither .npz nor .npy nor a folder")
        raise error
    if not len(data):
        raise DataError(f"data '{spec}' has no samples")
    return data


def _read(path: Path) -> dict[str, Array]:
    try:
        return _READERS[path.suffix.lower()](path)
    except (OSError, ValueError, EOFError, KeyError, NotImplementedError, zipfile.BadZipFile, zlib.error) as exc:
        if "allow_pickle" in str(exc):
            raise DataError(f"data '{path}' holds Python objects, not numbers; they are never unpickled") from exc
        raise DataError(f"data '{path}' is broken or not what its name says: {exc}") from exc


def _read_npz(path: Path) -> dict[str, Array]:
    with zipfile.ZipFile(path) as archive:
        _check_memory(path, sum(entry.file_size for entry in archive.infolist()))
    with np.load(path, allow_pickle=False) as archive:
        return {name: archive[name] for name in archive.files}


def _read_npy(path: Path) -> dict[str, Array]:
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)
    _check_memory(path, mapped.nbytes)
    return {ONLY: np.array(mapped)}


_READERS: dict[str, Callable[[Path], dict[str, Array]]] = {".npz": _read_npz, ".npy": _read_npy}


def _check_memory(path: Path, size_bytes: int) -> None:
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size_bytes > available:
        error = DataError(f"data '{path}' needs {size_bytes} bytes of memory and {available} are free")
        error.add_note(f"take a part of it: {path}[0:1000]")
        raise error


def _check_counts(path: Path, arrays: Arrays, labels: Array | None) -> None:
    if not arrays:
        raise DataError(f"data '{path}' holds no array but the labels '{LABELS}'")
    named = {**arrays, **({} if labels is None else {LABELS: labels})}
    if any(array.ndim == 0 for array in named.values()):
        raise DataError(f"data '{path}' holds a single number where samples [N, ...] are expected")
    counts = {name: len(array) for name, array in named.items()}
    if len(set(counts.values())) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"data '{path}' has arrays with different numbers of samples: {listed}")


def _class_numbers(path: Path, labels: Array) -> Array:
    if labels.ndim == 2 and labels.shape[1] > 1:  # noqa: PLR2004  # one-hot [N, classes]
        labels = labels.argmax(axis=1)
    labels = labels.reshape(len(labels), -1)
    if labels.shape[1] != 1 or not np.issubdtype(labels.dtype, np.number):
        raise DataError(f"the labels '{LABELS}' of '{path}' are neither class numbers [N] nor one-hot [N, classes]")
    return labels[:, 0].astype(np.int64)


def _folder(spec: str, path: Path, window: slice, preprocess: "Preprocess | None") -> DataSet:
    files = sorted(file for file in path.rglob("*") if file.is_file())
    images = [file for file in files if file.suffix.lower() in IMAGE_SUFFIXES]
    samples = [file for file in files if file.suffix.lower() == ".npy"]
    if bool(images) == bool(samples):
        what = "both images and .npy files" if images else "neither images nor .npy files"
        raise DataError(f"data folder '{path}' holds {what}")
    found = images or samples
    names, numbers = _classes(path, found)
    chosen = found[window]
    if not chosen:
        raise DataError(f"data '{spec}' has no samples")
    stacked = _stack(path, chosen, _image_reader(preprocess) if images else _sample)
    labels = None if numbers is None else np.asarray(numbers[window], dtype=np.int64)
    return DataSet(spec=spec, arrays={ONLY: stacked}, labels=labels, classes=names)


def _classes(root: Path, files: Sequence[Path]) -> tuple[tuple[str, ...], list[int] | None]:
    """Return class names and each file's class: sub-folders named by numbers are the class numbers."""
    if any(file.parent == root for file in files):
        return (), None
    tops = [file.relative_to(root).parts[0] for file in files]
    names = sorted(set(tops))
    if all(name.isdecimal() for name in names):
        names = sorted(names, key=int)
        return tuple(names), [int(top) for top in tops]
    place = {name: number for number, name in enumerate(names)}
    return tuple(names), [place[top] for top in tops]


def _stack(path: Path, files: Sequence[Path], reader: Callable[[Path], Array]) -> Array:
    first = reader(files[0])
    _check_memory(path, first.nbytes * len(files))
    stacked = np.empty((len(files), *first.shape), dtype=first.dtype)
    for place, file in enumerate(files):
        array = first if place == 0 else reader(file)
        if array.shape != first.shape:
            error = DataError(f"'{file}' has shape {array.shape} where '{files[0]}' has {first.shape}")
            error.add_note("give images one size: --preprocess resize=HEIGHTxWIDTH")
            raise error
        stacked[place] = array
    return stacked


def _sample(file: Path) -> Array:
    return _read(file)[ONLY]


def _image_reader(preprocess: "Preprocess | None") -> Callable[[Path], Array]:
    from edgekit_agent.errors import InputDataError
    from edgekit_agent.preprocess import Preprocess

    how = preprocess or Preprocess()

    def read(file: Path) -> Array:
        try:
            return how.image(file)
        except InputDataError as exc:
            raise DataError(str(exc)) from exc

    return read
