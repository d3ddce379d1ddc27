"""The checks: of one data set, of a set against what was declared, and of calibration against evaluation data."""

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from edgekit._data import DataSet
from edgekit._data_checks import images, ranges
from edgekit._data_checks.ranges import Range
from edgekit.errors import DataError
from edgekit_agent.preprocess import Preprocess
from edgekit_converters.model import Array

Limits = Mapping[str, tuple[float, float]]
"""Smallest and largest real value an input can hold, by its name."""

FEW = 16
_MOST_VALUES = 2_000_000  # of an input are looked at
_OUTSIDE = 0.1  # of the declared range: more is another one
_EMPTY = 0.4  # of the declared range, unused at one end
_TINY = 0.05
_NARROWER, _WIDER = 0.6, 1.6
_TWICE = 0.1
_NO_PIXELS = Range(0.05, 1000.0)


@dataclass(frozen=True, slots=True)
class Given:
    """One input's data: `array` [n, ...] is at most a part of it, float64."""

    what: str
    name: str
    array: Array
    range: Range

    def __str__(self) -> str:
        """Return how it is called in a warning."""
        return f"{self.what} data '{self.name}'"


def check_calibration(
    calibration: DataSet,
    evaluation: DataSet | None = None,
    preprocess: Preprocess | None = None,
    limits: Limits | None = None,
) -> tuple[str, ...]:
    """Compare calibration data with the declared preprocessing, the evaluation data and what inputs can hold.

    Args:
        calibration: the data that sets the ranges.
        evaluation: the data the model is judged on.
        preprocess: what was declared; without a scale, mean or std it says nothing of values.
        limits: real values that quantized inputs can hold, by input.

    Returns:
        Warnings, each one sentence that names the likely mistake.

    Raises:
        DataError: if values are NaN or infinite, or every input is constant.
    """
    found = list(_samples(calibration))
    mine = _given(calibration, "calibration")
    if mine and all(one.array.min() == one.array.max() for one in mine.values()):
        raise DataError(f"the calibration data '{calibration.spec}' is constant: it has no ranges to learn")
    found += _of_set(mine, preprocess, limits)
    if evaluation is not None:
        theirs = _given(evaluation, "evaluation")
        found += _of_set(theirs, preprocess, limits)
        for name in mine:
            if name in theirs:
                found += _each(_TWO, mine[name], theirs[name])
    return tuple(dict.fromkeys(found))


def check_evaluation(
    evaluation: DataSet, preprocess: Preprocess | None = None, limits: Limits | None = None
) -> tuple[str, ...]:
    """Compare evaluation data with the declared preprocessing and what inputs can hold.

    Raises:
        DataError: if values are NaN or infinite.
    """
    return tuple(dict.fromkeys(_of_set(_given(evaluation, "evaluation"), preprocess, limits)))


def _given(data: DataSet, what: str) -> dict[str, Given]:
    """Return the inputs that hold values; whole numbers of more than 8 bits are ids, masks and lengths."""
    given = {}
    for name, array in data.arrays.items():
        if array.dtype.kind == "f" and not all(np.isfinite(part).all() for part in _parts(array)):
            raise DataError(f"the {what} data '{data.spec}' holds NaN or infinite values in '{name}'")
        if array.size and (array.dtype.kind == "f" or array.dtype.itemsize == 1):
            step = max(1, array.size // _MOST_VALUES)
            values = np.asarray(array[::step], dtype=np.float64)
            given[name] = Given(what, name, values, ranges.of_values(values))
    return given


def _parts(array: Array) -> Iterator[Array]:
    """Yield an array piece by piece, so that looking at it takes no second one."""
    rows = max(1, _MOST_VALUES * len(array) // max(1, array.size))
    return (array[start : start + rows] for start in range(0, len(array), rows))


def _samples(data: DataSet) -> Iterator[str]:
    count = len(data)
    if count == 1:
        yield "the calibration data is one sample: its values are all that the ranges are made of; take 100 or more"
    elif count < FEW:
        yield f"the calibration data has {count} samples: ranges of so few are narrow; take 100 or more"
    digests = {_digest(data, place) for place in range(count)}
    again = count - len(digests)
    if again > _TWICE * count:
        yield f"{again} of the {count} calibration samples are there more than once"


def _digest(data: DataSet, place: int) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    for array in data.arrays.values():
        digest.update(np.ascontiguousarray(array[place]).data if array[place].size else b"")
    return digest.digest()


def _of_set(given: Mapping[str, Given], preprocess: Preprocess | None, limits: Limits | None) -> list[str]:
    found = []
    for name, one in given.items():
        if one.array.min() == one.array.max():
            found.append(f"{one} is constant: {one.array.flat[0]:.4g} everywhere")
            continue
        found += _declared(one, preprocess)
        if limits and name in limits:
            found += _limited(one, Range(*limits[name]))
        layout = images.layout(one.array)
        if preprocess not in {None, Preprocess()} and layout and preprocess and layout != preprocess.layout:
            found.append(
                f"{one} looks like {layout.upper()} ({images.said(one.array)}) and the declared layout is "
                f"{preprocess.layout.upper()}"
            )
    return found


def _declared(one: Given, preprocess: Preprocess | None) -> Iterator[str]:
    wanted = ranges.declared(preprocess, one.array.ndim)
    if wanted is None:
        return
    if not _NO_PIXELS.low <= wanted.width <= _NO_PIXELS.high:
        yield (
            f"the declared preprocessing makes {wanted} of its input: is scale or std given "
            f"{'twice' if wanted.width < _NO_PIXELS.low else 'upside down'}?"
        )
    spans = f"{one} spans {one.range} and the declared preprocessing gives {wanted}"
    outside = max(wanted.low - one.range.low, one.range.high - wanted.high)
    if outside > _OUTSIDE * wanted.width:
        yield f"{spans}: {_outside(one.range, wanted)}"
    elif one.range.width < _TINY * wanted.width:
        yield f"{spans}: {_inside(one.range, wanted)}"
    elif max(one.range.low - wanted.low, wanted.high - one.range.high) > _EMPTY * wanted.width:
        yield f"{spans}: {ranges.likely(one.range, wanted)}"


def _outside(got: Range, wanted: Range) -> str:
    if got.name() == "0..255" != wanted.name():
        return f"raw pixels, 0..255 against {wanted.name() or wanted}?"
    return ranges.likely(got, wanted)


def _inside(got: Range, wanted: Range) -> str:
    return f"divided twice, {got.name() or got} against {wanted.name() or wanted}?"


def _limited(one: Given, holds: Range) -> Iterator[str]:
    spans = f"{one} spans {one.range} and the input can hold {holds}"
    if max(holds.low - one.range.low, one.range.high - holds.high) > _OUTSIDE * holds.width:
        yield f"{spans}, so values are cut off: {_outside(one.range, holds)}"
    elif one.range.width < _TINY * holds.width:
        yield f"{spans}, so few steps are left: {_inside(one.range, holds)}"


def _scales(mine: Given, theirs: Given) -> Iterator[str]:
    if not theirs.range.width:
        return
    ratio = mine.range.width / theirs.range.width
    if ratio < _NARROWER or ratio > _WIDER:
        cost = "values beyond are cut off" if ratio < _NARROWER else "steps are wasted"
        yield (
            f"{mine} spans {mine.range} and evaluation data {theirs.range}, so {cost}: "
            f"{ranges.likely(mine.range, theirs.range)}"
        )


def _shapes(mine: Given, theirs: Given) -> Iterator[str]:
    a, b = mine.array.shape[1:], theirs.array.shape[1:]
    if a != b and sorted(a) == sorted(b):
        yield f"{mine} has samples of {images.size(a)} and evaluation data of {images.size(b)}: NHWC against NCHW?"


def _axes(mine: Given, theirs: Given) -> Iterator[str]:
    a, b = images.roughest_axis(mine.array), images.roughest_axis(theirs.array)
    if mine.array.shape[1:] == theirs.array.shape[1:] and None not in {a, b} and a != b:
        yield f"{mine} has its channels on axis {a} and evaluation data on axis {b}: NHWC against NCHW?"


def _colours(mine: Given, theirs: Given) -> Iterator[str]:
    if images.swapped(mine.array, theirs.array):
        yield f"{mine} has the channels' means of evaluation data in the opposite order: RGB against BGR?"


def _shifts(mine: Given, theirs: Given) -> Iterator[str]:
    shift = images.shift(mine.array, theirs.array)
    if shift is not None:
        channel, by = shift
        where = f" of channel {channel}" if channel is not None else ""
        yield (
            f"the mean{where} of {mine} is {by:+.1f} standard deviations from that of evaluation data: "
            "is the mean subtracted from one of them only?"
        )


_TWO: tuple[Callable[[Given, Given], Iterator[str]], ...] = (_shapes, _axes, _colours, _scales, _shifts)
"""Where one of them finds something the later ones would say the same in other words."""


def _each(checks: tuple[Callable[[Given, Given], Iterator[str]], ...], mine: Given, theirs: Given) -> list[str]:
    return next((found for check in checks if (found := list(check(mine, theirs)))), [])
