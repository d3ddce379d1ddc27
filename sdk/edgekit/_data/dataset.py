"""Samples with their labels, and how parts of them are taken."""

import os
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgekit.errors import DataError
from edgekit_converters.model import Array, Arrays

LABELS = "y"
LABEL_PREFIX = "y_"
_NUMBERS = "fiub"


@dataclass(frozen=True, slots=True, kw_only=True)
class DataSet:
    """Samples by input name (or `x`), each [N, ...], and their labels by name when there are any.

    `labels["y"]` is [N] or [N, ...]: class numbers, one-hot rows, values. It is half as long where two
    samples in a row are one pair. Boxes are `y_boxes` [N, M, 4] with `y_classes` [N, M] and `y_count` [N].
    """

    spec: str
    arrays: Arrays
    labels: Arrays | None = None
    classes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(next(iter(self.arrays.values())))


def from_arrays(spec: str, named: Arrays, window: slice, classes: tuple[str, ...] = ()) -> DataSet:
    """Return the samples of a part of named arrays; `y`, and what begins with `y_` beside it, are labels.

    Raises:
        DataError: if there are no samples, labels are no numbers, or counts differ.
    """
    labelled = LABELS in named or f"{LABEL_PREFIX}boxes" in named
    labels = {
        name: array for name, array in named.items() if labelled and (name == LABELS or name.startswith(LABEL_PREFIX))
    }
    arrays = {name: array for name, array in named.items() if name not in labels}
    if not arrays:
        raise DataError(f"data '{spec}' holds no array but the labels '{LABELS}'")
    _check_counts(spec, arrays, labels)
    for name, array in labels.items():
        if array.dtype.kind not in _NUMBERS:
            raise DataError(f"the labels '{name}' of '{spec}' are no numbers but {array.dtype}")
    count = len(next(iter(arrays.values())))
    cut = DataSet(
        spec=spec,
        arrays={name: array[window] for name, array in arrays.items()},
        labels={name: array[_window(spec, window, count, len(array))] for name, array in labels.items()} or None,
        classes=classes,
    )
    if not len(cut):
        raise DataError(f"data '{spec}' has no samples")
    return cut


def _window(spec: str, window: slice, count: int, labels: int) -> slice:
    """Return the labels' part: that of the samples, or half of its bounds for pairs."""
    if labels == count:
        return window
    start, stop, _ = window.indices(count)
    if start % 2 or stop % 2:
        raise DataError(f"data '{spec}' has one label for two samples, so a part must not cut a pair")
    return slice(start // 2, stop // 2)


def _check_counts(spec: str, arrays: Arrays, labels: Arrays) -> None:
    named = {**arrays, **labels}
    if any(array.ndim == 0 for array in named.values()):
        raise DataError(f"data '{spec}' holds a single number where samples [N, ...] are expected")
    counts = {name: len(array) for name, array in named.items()}
    samples = {counts[name] for name in arrays}
    paired = {2 * counts[name] if name == LABELS and counts[name] not in samples else counts[name] for name in labels}
    if len(samples | paired) != 1:
        listed = ", ".join(f"{name} {count}" for name, count in counts.items())
        raise DataError(f"data '{spec}' has arrays with different numbers of samples: {listed}")


def check_memory(what: str, size_bytes: int) -> None:
    """Refuse data that is larger than the free memory.

    Raises:
        DataError: naming both sizes.
    """
    available = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if size_bytes > available:
        error = DataError(f"data '{what}' needs {size_bytes} bytes of memory and {available} are free")
        error.add_note(f"take a part of it: {what.partition('[')[0]}[0:1000]")
        raise error


def padded(rows: Sequence[Array], fill: float = 0.0) -> tuple[Array, Array]:
    """Return rows [m, ...] of different lengths as one array [N, M, ...] filled up, and their lengths [N]."""
    counts = np.asarray([len(row) for row in rows], dtype=np.int64)
    longest = int(counts.max(initial=0))
    tail = rows[0].shape[1:]
    array = np.full((len(rows), longest, *tail), fill, dtype=rows[0].dtype)
    for place, row in enumerate(rows):
        array[place, : len(row)] = row
    return array, counts
