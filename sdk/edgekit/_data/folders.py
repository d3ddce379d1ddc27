"""Folders of images, sounds or `.npy` samples; a sub-folder's name is its class, an `annotations.json` holds boxes."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from edgekit._data import annotations, archives
from edgekit._data.dataset import LABELS, DataSet, check_memory, from_arrays
from edgekit.errors import DataError
from edgekit_agent.errors import InputDataError
from edgekit_agent.preprocess import Preprocess
from edgekit_converters.data import ONLY
from edgekit_converters.model import Array

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
Reader = Callable[[Path], Array]


def read(spec: str, path: Path, window: slice, how: Preprocess) -> DataSet:
    """Return the samples of a part of a folder's files, in the order of their names.

    Raises:
        DataError: if it holds none or several kinds of them, or one of them does not fit the first.
    """
    files = sorted(file for file in path.rglob("*") if file.is_file())
    kinds: dict[str, tuple[list[Path], Reader]] = {
        "images": ([file for file in files if file.suffix.lower() in IMAGE_SUFFIXES], _image_reader(how)),
        "sounds (.wav)": ([file for file in files if file.suffix.lower() == ".wav"], sound_reader(how)),
        ".npy files": ([file for file in files if file.suffix.lower() == ".npy"], _sample),
    }
    there = [name for name, (found, _) in kinds.items() if found]
    if len(there) != 1:
        what = "both " + " and ".join(there) if there else "neither images nor sounds (.wav) nor .npy files"
        raise DataError(f"data folder '{path}' holds {what}")
    found, reader = kinds[there[0]]
    boxes = annotations.find(path) if there[0] == "images" else None
    if boxes is not None:
        known = annotations.read(boxes)
        found = [file for file in found if known.has(path, file)]
        if not found:
            raise DataError(f"'{boxes}' names no image of '{path}'")
    chosen = found[window]
    if not chosen:
        raise DataError(f"data '{spec}' has no samples")
    stacked = _stack(path, chosen, reader)
    if boxes is not None:
        labels = known.labels(path, chosen, how)
        return from_arrays(spec, {ONLY: stacked, **labels}, slice(None), known.classes)
    names, numbers = _classes(path, found)
    classed = {} if numbers is None else {LABELS: np.asarray(numbers[window], dtype=np.int64)}
    return from_arrays(spec, {ONLY: stacked, **classed}, slice(None), names)


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


def _stack(path: Path, files: Sequence[Path], reader: Reader) -> Array:
    first = reader(files[0])
    check_memory(str(path), first.nbytes * len(files))
    stacked = np.empty((len(files), *first.shape), dtype=first.dtype)
    for place, file in enumerate(files):
        array = first if place == 0 else reader(file)
        if array.shape != first.shape:
            error = DataError(f"'{file}' has shape {array.shape} where '{files[0]}' has {first.shape}")
            if file.suffix.lower() == ".wav":
                error.add_note("give sounds one length: --preprocess length=SAMPLES")
            elif file.suffix.lower() in IMAGE_SUFFIXES:
                error.add_note("give images one size: --preprocess resize=HEIGHTxWIDTH")
            raise error
        stacked[place] = array
    return stacked


def _sample(file: Path) -> Array:
    return archives.read(file)[ONLY]


def _image_reader(how: Preprocess) -> Reader:
    def read(file: Path) -> Array:
        try:
            return how.image(file)
        except InputDataError as exc:
            raise DataError(str(exc)) from exc

    return read


def sound_reader(how: Preprocess) -> Reader:
    """Return what reads one `.wav` file as samples [N]; all files must have one rate, or be brought to one."""
    rates: dict[int, Path] = {}

    def read(file: Path) -> Array:
        try:
            samples, rate = how.sound(file)
        except InputDataError as exc:
            raise DataError(str(exc)) from exc
        rates.setdefault(rate, file)
        if len(rates) > 1:
            other, first = next(iter(rates.items()))
            error = DataError(f"'{file}' has {rate} samples a second where '{first}' has {other}")
            error.add_note("bring sounds to one rate: --preprocess rate=HERTZ")
            raise error
        return samples

    return read
