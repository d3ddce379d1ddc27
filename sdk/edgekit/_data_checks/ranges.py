"""Ranges of values, and the names people know them by."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np

from edgekit_agent.preprocess import Number, Preprocess, Vector
from edgekit_converters.model import Array

_TAIL = 0.001  # of the values on each side do not count: one odd pixel is no range
_NEAR = 0.15  # of a width: how far an end may be from that of a known range
_IMAGE_AXES = 4


@dataclass(frozen=True, slots=True)
class Range:
    """From the smallest to the largest value that count."""

    low: float
    high: float

    @property
    def width(self) -> float:
        """The distance between both ends."""
        return self.high - self.low

    def __str__(self) -> str:
        """Return `0 to 255`, with how people call it."""
        return f"{self.low:.4g} to {self.high:.4g}"

    def name(self) -> str | None:
        """Return the known range it fills."""
        for name, known in KNOWN.items():
            if abs(self.low - known.low) <= _NEAR * known.width >= abs(self.high - known.high):
                return name
        return None


KNOWN: Mapping[str, Range] = MappingProxyType(
    {
        "0..255": Range(0, 255),
        "-128..127": Range(-128, 127),
        "-1..1": Range(-1, 1),
        "0..1": Range(0, 1),
        "0..1/255": Range(0, 1 / 255),
    }
)


def of_values(values: Array) -> Range:
    """Return the range of all values but a thousandth on either side."""
    low, high = np.quantile(np.asarray(values, dtype=np.float64), [_TAIL, 1 - _TAIL])
    return Range(float(low), float(high))


def declared(preprocess: Preprocess | None, axes: int) -> Range | None:
    """Return what the declared preprocessing makes of pixels (4 axes) or a sound, None where it says nothing."""
    if preprocess is None or (preprocess.scale, preprocess.mean, preprocess.std) == (1, 0, 1):
        return None
    sound = preprocess.rate is not None or preprocess.length is not None
    if not sound and axes != _IMAGE_AXES:
        return None
    scale, mean, std = (_vector(one) for one in (preprocess.scale, preprocess.mean, preprocess.std))
    ends = (np.asarray([[-1.0], [1.0]] if sound else [[0.0], [255.0]]) * scale - mean) / std
    return Range(float(ends.min()), float(ends.max()))


def _vector(value: Vector) -> "np.ndarray[tuple[int, ...], np.dtype[np.float64]]":
    numbers: tuple[Number, ...] = value if isinstance(value, tuple) else (value,)
    return np.asarray(numbers, dtype=np.float64)


def likely(one: Range, other: Range) -> str:
    """Return what may be wrong between two ranges that should be the same, as a question."""
    names = one.name(), other.name()
    if None not in names and names[0] != names[1]:
        return f"{names[0]} against {names[1]}?"
    ratio = max(one.width, other.width) / max(min(one.width, other.width), 1e-30)
    if 100 < ratio < 300:  # noqa: PLR2004  # 255, 127 or 128
        return "is one of them divided by 255 and the other not?"
    return "are they preprocessed in the same way?"
