"""Arrays in files."""

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from edgekit_agent import feeds
from edgekit_agent.errors import InputDataError
from edgekit_agent.runtimes.base import Array, TensorSpec
from edgekit_agent.sources.base import Item, Prepared, Sample, Stored


class ArraySource(Stored):
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
        except Exception as exc:  # NumPy reads the head as Python does, with errors of that
            raise InputDataError(f"data '{file}' cannot be read: {exc}") from exc
        return array if array.ndim == len(self._inputs[0].shape) else array[None]

    def samples(self) -> Iterator[Item]:
        """Yield every sample of every file."""
        for arrays, labels in self._parts:
            for number in range(len(arrays[0])):
                label = None if labels is None else int(labels[number])
                yield Sample([array[number : number + 1] for array in arrays], label)

    def prepare(self, sample: Sample) -> Prepared:
        """Bring the values into the inputs' dtypes."""
        pairs = zip(sample.raw, self._inputs, strict=True)
        return Prepared([feeds.fit(array, spec, "the sample") for array, spec in pairs])
