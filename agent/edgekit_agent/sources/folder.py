"""A folder, or one file, of images, sounds or arrays."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from edgekit_agent.errors import InputDataError
from edgekit_agent.sources.base import Item, Prepared, Sample, Source, Stored
from edgekit_agent.sources.classes import class_numbers
from edgekit_agent.sources.pictures import Pictures
from edgekit_agent.sources.settings import SourceConfig
from edgekit_agent.sources.wanted import Wanted

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
SOUNDS = frozenset({".wav"})
ARRAYS = frozenset({".npy", ".npz"})


def open_folder(config: SourceConfig, wanted: Wanted) -> Source:
    """Return the samples of a folder.

    Raises:
        InputDataError: if it is missing, empty, mixed, or does not fit the model.
    """
    path = Path(config.path or "")
    found = {kind: files_of(path, suffixes) for kind, suffixes in _SUFFIXES.items()}
    there = [kind for kind, files in found.items() if files]
    if not path.exists() or len(there) != 1:
        what = (
            "does not exist" if not path.exists() else f"holds both {' and '.join(there)}" if there else "holds no data"
        )
        raise InputDataError(f"source '{path}' {what}")
    return _OPENERS[there[0]](path, found[there[0]], wanted)


def files_of(path: Path, suffixes: frozenset[str]) -> list[Path]:
    """Return the files of a folder and those below it that end so, or the one file, in the order of their names."""
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    return [file for file in files if file.suffix.lower() in suffixes]


class ImageSource(Stored):
    """Images; a sub-folder's name is the class."""

    def __init__(self, root: Path, files: Sequence[Path], wanted: Wanted) -> None:
        """Check that the model takes one image."""
        self._pictures = Pictures(wanted, f"source '{root}'")
        self._files = files
        self._labels = class_numbers(root, files, wanted.classes)

    def samples(self) -> Iterator[Item]:
        """Yield every file."""
        for file, label in zip(self._files, self._labels, strict=True):
            yield Sample(file, label)

    def prepare(self, sample: Sample) -> Prepared:
        """Decode, resize, crop, normalise and store one image."""
        return self._pictures.prepare(sample.raw, f"image '{sample.raw}'")


def _sounds(root: Path, files: Sequence[Path], wanted: Wanted) -> Source:
    from edgekit_agent.sources.sounds import SoundSource

    return SoundSource(root, files, wanted, hop_s=None)


def _arrays(_root: Path, files: Sequence[Path], wanted: Wanted) -> Source:
    from edgekit_agent.sources.arrays import ArraySource

    return ArraySource(files, wanted.inputs)


_SUFFIXES = {"images": IMAGES, "sounds": SOUNDS, "arrays": ARRAYS}
_OPENERS: dict[str, Callable[[Path, Sequence[Path], Wanted], Source]] = {
    "images": ImageSource,
    "sounds": _sounds,
    "arrays": _arrays,
}
