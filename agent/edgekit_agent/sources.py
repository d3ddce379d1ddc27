"""Where a model's input comes from: made from a seed, or a folder of arrays or images."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from edgekit_agent import feeds
from edgekit_agent.config import SourceConfig
from edgekit_agent.errors import InputDataError
from edgekit_agent.preprocess import Preprocess
from edgekit_agent.runtimes.base import Array, TensorSpec

IMAGES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".ppm"})
ARRAYS = frozenset({".npy", ".npz"})
MAX_LABELS_CHARS = 1 << 20


@dataclass(frozen=True, slots=True)
class Sample:
    """One inference's raw input, with its class number where it is known."""

    raw: Any
    label: int | None = None


class Source(Protocol):
    """A stream of samples; `prepare` is the timed pre-processing."""

    def samples(self) -> Iterator[Sample]:
        """Yield samples, for ever or until there are no more."""
        ...

    def prepare(self, sample: Sample) -> list[Array]:
        """Return the model's inputs, as it stores them, for one run."""
        ...


def open_source(
    config: SourceConfig, inputs: Sequence[TensorSpec], preprocess: Mapping[str, Any], labels: str | None = None
) -> Source:
    """Return the source of a configuration.

    Args:
        config: the source's part of it.
        inputs: of the model.
        preprocess: the values of a `Preprocess`, for images.
        labels: a file of the model's class names, one a line in the order of its output, for images in named folders.

    Raises:
        InputDataError: if the folder is missing, empty, mixed, or does not fit the model.
        ConfigError: if the preprocessing is wrong.
    """
    if config.kind == "synthetic":
        return _Limited(SyntheticSource(inputs, config.seed), config)
    path = Path(config.path or "")
    files = sorted(file for file in path.rglob("*") if file.is_file()) if path.is_dir() else [path]
    images = [file for file in files if file.suffix.lower() in IMAGES]
    arrays = [file for file in files if file.suffix.lower() in ARRAYS]
    if not path.exists() or bool(images) == bool(arrays):
        what = "does not exist" if not path.exists() else "holds both images and arrays" if images else "holds no data"
        raise InputDataError(f"source '{path}' {what}")
    source = (
        ImageSource(path, images, inputs, Preprocess.from_mapping(preprocess), read_classes(labels))
        if images
        else ArraySource(arrays, inputs)
    )
    return _Limited(source, config)


class _Limited:
    """A source that starts again when it ends (`loop`), and ends after `limit` samples (0: never)."""

    def __init__(self, source: Source, config: SourceConfig) -> None:
        self._source, self._loop, self._limit = source, config.loop, config.limit
        self.prepare = source.prepare

    def samples(self) -> Iterator[Sample]:
        count = 0
        while True:
            for sample in self._source.samples():
                yield sample
                count += 1
                if count == self._limit:
                    return
            if not self._loop:
                return


class SyntheticSource:
    """Seeded random inputs, made beforehand."""

    def __init__(self, inputs: Sequence[TensorSpec], seed: int) -> None:
        """Make eight inputs."""
        self._inputs = feeds.synthetic(inputs, seed)

    def samples(self) -> Iterator[Sample]:
        """Yield each once."""
        return (Sample(arrays) for arrays in self._inputs)

    def prepare(self, sample: Sample) -> list[Array]:
        """There is nothing to do."""
        arrays: list[Array] = sample.raw
        return arrays


class ArraySource:
    """`.npz` (arrays by input name or `x`, labels `y`) and `.npy` files (one sample, or [N, ...])."""

    def __init__(self, files: Sequence[Path], inputs: Sequence[TensorSpec]) -> None:
        """Read every file."""
        self._inputs = inputs
        self._parts = [self._read(file) for file in files]

    def _read(self, file: Path) -> tuple[list[Array], Array | None]:
        what = f"data '{file}'"
        if file.suffix.lower() == ".npy":
            arrays, labels = {feeds.ONLY: self._sample_axis(file)}, None
        else:
            arrays = feeds.read_npz(file)
            labels = arrays.pop(feeds.LABELS, None)
        ordered = feeds.by_input(arrays, self._inputs, what)
        # the first sample shows whether the rest will fit
        _ = [feeds.fit(array[:1], spec, what) for array, spec in zip(ordered, self._inputs, strict=True)]
        if labels is not None and (labels.ndim != 1 or len(labels) != len(ordered[0])):
            raise InputDataError(f"{what}: the labels '{feeds.LABELS}' are not one class number a sample")
        return ordered, labels

    def _sample_axis(self, file: Path) -> Array:
        try:
            array: Array = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as exc:
            raise InputDataError(f"data '{file}' cannot be read: {exc}") from exc
        return array if array.ndim == len(self._inputs[0].shape) else array[None]

    def samples(self) -> Iterator[Sample]:
        """Yield every sample of every file."""
        for arrays, labels in self._parts:
            for number in range(len(arrays[0])):
                label = None if labels is None else int(labels[number])
                yield Sample([array[number : number + 1] for array in arrays], label)

    def prepare(self, sample: Sample) -> list[Array]:
        """Bring the values into the inputs' dtypes."""
        return [feeds.fit(array, spec, "the sample") for array, spec in zip(sample.raw, self._inputs, strict=True)]


class ImageSource:
    """Images; a sub-folder's name is the class: a number, a name of `classes`, or else counted in the names' order."""

    def __init__(
        self,
        root: Path,
        files: Sequence[Path],
        inputs: Sequence[TensorSpec],
        how: Preprocess,
        classes: Sequence[str] = (),
    ) -> None:
        """Check that the model takes one image."""
        if len(inputs) != 1 or len(inputs[0].shape) != 4:  # noqa: PLR2004
            raise InputDataError(f"source '{root}' holds images and the model does not take one image [N, H, W, C]")
        self._spec, self._files, self._how = inputs[0], files, how
        height, width = inputs[0].shape[2:4] if how.layout == "nchw" else inputs[0].shape[1:3]
        self._size = (height, width) if height > 0 and width > 0 else None
        self._labels = _labels(root, files, classes)

    def samples(self) -> Iterator[Sample]:
        """Yield every file."""
        for file, label in zip(self._files, self._labels, strict=True):
            yield Sample(file, label)

    def prepare(self, sample: Sample) -> list[Array]:
        """Decode, resize, crop, normalise and store one image."""
        return [feeds.fit(self._how.image(sample.raw, self._size)[None], self._spec, f"image '{sample.raw}'")]


def read_classes(labels: str | None) -> tuple[str, ...]:
    """Return the lines of a file of class names, none without a file.

    Raises:
        InputDataError: if it cannot be read or is too large to be such a file.
    """
    if labels is None:
        return ()
    try:
        with Path(labels).open(encoding="utf-8") as file:
            text = file.read(MAX_LABELS_CHARS + 1)
    except (OSError, ValueError) as exc:
        raise InputDataError(f"labels '{labels}' cannot be read: {exc}") from exc
    if len(text) > MAX_LABELS_CHARS:
        raise InputDataError(f"labels '{labels}' are longer than {MAX_LABELS_CHARS} characters")
    return tuple(line.strip() for line in text.splitlines())


def _labels(root: Path, files: Sequence[Path], classes: Sequence[str]) -> list[int | None]:
    tops = [file.relative_to(root).parts[0] if file.parent != root and root.is_dir() else None for file in files]
    if None in tops:
        return [None] * len(files)
    names = sorted({str(top) for top in tops})
    if all(name.isdecimal() for name in names) and not set(names) <= set(classes):
        return [int(str(top)) for top in tops]
    for name in names:
        if classes and name not in classes:
            raise InputDataError(f"source '{root}': folder '{name}' is none of the classes in the model's labels")
    order = list(classes) or names
    return [order.index(str(top)) for top in tops]
