"""Readings of gauges over a window, put together as a report tells them. No I/O."""

from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from operator import or_
from types import MappingProxyType
from typing import Any

Reading = Mapping[str, float | int]
_Join = Callable[[Sequence[Any]], Any]


def _bits(values: Sequence[int]) -> int:
    return reduce(or_, values)


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)


HOW: Mapping[str, tuple[_Join, _Join]] = MappingProxyType(
    {
        "cpu_percent": (_mean, sum),
        "rss_bytes": (max, sum),
        "queue": (max, sum),
        "temperature_c": (max, max),
        "throttled": (_bits, _bits),
        "frequency_mhz": (_mean, _mean),
        "power_w": (_mean, _mean),
    }
)
"""A gauge by its name in `Report`: what is told of a worker's readings, and what of several workers."""
_DIGITS = 3


class GaugeWindow:
    """The readings of one window; those of the device come with each worker's."""

    def __init__(self) -> None:
        """Begin without a reading."""
        self._readings: dict[str, dict[int, list[float | int]]] = {}

    def add(self, number: int, reading: Reading) -> None:
        """Take a reading that came with a worker's message; names that are no gauge are passed over."""
        for name, value in reading.items():
            if name in HOW:
                self._readings.setdefault(name, {}).setdefault(number, []).append(value)

    def told(self) -> dict[str, Any]:  # whole numbers and others
        """Return the gauges by their names in `Report`."""
        found = {}
        for name, workers in self._readings.items():
            of_one, of_all = HOW[name]
            value = of_all([of_one(values) for values in workers.values()])
            found[name] = round(value, _DIGITS) if isinstance(value, float) else value
        return found
