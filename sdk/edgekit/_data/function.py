"""`package.module:function`: data that a function of the user's returns."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any

import numpy as np

from edgekit._data.dataset import LABEL_PREFIX, LABELS, check_memory, padded
from edgekit.errors import DataError
from edgekit_converters import user_function
from edgekit_converters.data import ONLY
from edgekit_converters.model import Array

_CHECK_EVERY = 64  # samples


def read(name: str, window: slice) -> tuple[dict[str, Array], slice]:
    """Call the function; return the named arrays [N, ...] and which part of them is asked for.

    It returns what an `.npz` holds (a mapping of names to arrays), one array, or an iterable of samples,
    each (inputs, label) or inputs alone, where inputs are one array or a mapping. A label may be a mapping
    `{"boxes": [m, 4], "classes": [m]}`; its arrays may have other lengths for every sample. Of an iterable
    no more than a slice needs is taken.

    Raises:
        DataError: if it is not there, raises, or returns something else.
    """
    function = user_function.find(name, DataError, "a function that returns data")
    with user_function.guarded(name, DataError):
        made = function()
        if isinstance(made, Mapping):
            return {str(key): _array(name, value) for key, value in made.items()}, window
        if hasattr(made, "shape"):
            return {ONLY: _array(name, made)}, window
        if not isinstance(made, Iterable) or isinstance(made, str | bytes):
            error = DataError(f"'{name}' returns a {type(made).__name__}, which is no data")
            error.add_note("return a mapping of names to arrays, or an iterable of (inputs, label)")
            raise error
        return _stacked(name, iter(made), window)


def _stacked(name: str, samples: Iterator[Any], window: slice) -> tuple[dict[str, Array], slice]:
    columns: dict[str, list[Array]] = {}
    kept_bytes = 0
    start, stop = window.start or 0, window.stop
    cut = start >= 0 and (stop is None or stop >= 0)
    taken = islice(samples, start, stop) if cut else samples
    for place, sample in enumerate(taken):
        row = _row(name, sample)
        if place == 0:
            columns = {key: [] for key in row}
        if set(row) != set(columns):
            raise DataError(f"'{name}' returns other names for sample {place} than for the first")
        for key, value in row.items():
            if columns[key] and _tail(key, value) != _tail(key, columns[key][0]):
                first = columns[key][0].shape
                raise DataError(f"'{name}' returns '{key}' of shape {value.shape} for sample {place}, {first} before")
            columns[key].append(value)
            kept_bytes += value.nbytes
        if place % _CHECK_EVERY == 0:
            check_memory(name, 2 * kept_bytes if place == 0 else kept_bytes)
    if not columns:
        raise DataError(f"'{name}' returns no samples")
    return _joined(columns), slice(None) if cut else window


def _joined(columns: Mapping[str, list[Array]]) -> dict[str, Array]:
    joined: dict[str, Array] = {}
    for key, values in columns.items():
        if len({value.shape for value in values}) == 1:
            joined[key] = np.stack(values)
        else:
            joined[key], joined[f"{LABEL_PREFIX}count"] = padded(values)
    return joined


def _tail(key: str, value: Array) -> tuple[int, ...]:
    """Return what must be the same for every sample: of a label such as boxes, all but the first size."""
    return value.shape[1:] if key.startswith(LABEL_PREFIX) else value.shape


def _row(name: str, sample: Any) -> dict[str, Array]:  # noqa: ANN401  # whatever the user's function yields
    pair = isinstance(sample, tuple | list) and len(sample) == 2  # noqa: PLR2004  # (inputs, label)
    inputs, label = sample if pair else (sample, {})
    named = inputs if isinstance(inputs, Mapping) else {ONLY: inputs}
    labels = (
        {f"{LABEL_PREFIX}{key}": one for key, one in label.items()} if isinstance(label, Mapping) else {LABELS: label}
    )
    return {str(key): _array(name, value) for key, value in chain(named.items(), labels.items())}


def _array(name: str, value: Any) -> Array:  # noqa: ANN401  # an array, a tensor or nested numbers
    array: Array = np.asarray(value)
    if array.dtype.kind not in "fiub":
        raise DataError(f"'{name}' returns {array.dtype} values where numbers are expected")
    return array
