"""Whether something holds the processor back, from what the kernel and the firmware tell of it."""

from collections.abc import Callable, Sequence
from enum import IntFlag
from functools import partial
from pathlib import Path

from edgekit_agent.gauges.sysfs import number, readable, text

_RASPBERRY = "sys/devices/platform/soc/soc:firmware/get_throttled"
_NOW = 0xF  # the upper half tells what has been since the boot
_SLOWING = ("thermal-cpufreq", "thermal-devfreq", "cpufreq")
"""Cooling devices that slow a processor down, by the beginning of their type; a fan is none."""


class Throttled(IntFlag):
    """Why the device is slower than it could be; the bits are those of the Raspberry Pi's firmware."""

    UNDER_VOLTAGE = 1
    CAPPED = 2
    """The highest frequency allowed is below what the processor can do."""
    THROTTLED = 4
    HOT = 8
    """Slowed down because of the temperature."""


ReadThrottling = Callable[[], Throttled | None]


def find_throttling(root: Path) -> list[ReadThrottling]:
    """Return what can tell of throttling here: firmware, frequency limits, cooling devices, Intel's counters."""
    limits = readable(root, "sys/devices/system/cpu/cpufreq/policy*/scaling_max_freq")
    cooling = readable(root, "sys/class/thermal/cooling_device*/cur_state")
    counters = readable(root, "sys/devices/system/cpu/cpu*/thermal_throttle/*_throttle_count")
    return [
        *(partial(_firmware, file) for file in readable(root, _RASPBERRY)),
        *(partial(_capped, file, file.with_name("cpuinfo_max_freq")) for file in limits),
        *(partial(_slowed, file) for file in cooling if text(file.with_name("type")).startswith(_SLOWING)),
        *([_Counters(counters)] if counters else ()),
    ]


class _Counters:
    """Intel's counts of how often a core or package was throttled: have they grown since the last reading?"""

    def __init__(self, files: Sequence[Path]) -> None:
        self._files = files
        self._last = self._sum()

    def __call__(self) -> Throttled:
        last, self._last = self._last, self._sum()
        return Throttled.THROTTLED | Throttled.HOT if self._last > last else Throttled(0)

    def _sum(self) -> int:
        return sum(number(file) or 0 for file in self._files)


def _firmware(file: Path) -> Throttled | None:
    try:
        return Throttled(int(text(file), 16) & _NOW)
    except ValueError:
        return None


def _capped(limit: Path, most: Path) -> Throttled | None:
    allowed, possible = number(limit), number(most)
    if allowed is None or possible is None:
        return None
    return Throttled.CAPPED if allowed < possible else Throttled(0)


def _slowed(state: Path) -> Throttled | None:
    value = number(state)
    if value is None:
        return None
    return Throttled.HOT if value > 0 else Throttled(0)
