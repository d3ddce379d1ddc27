"""The gauges of a device and of its worker processes, read by the supervisor at most once a second."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from edgekit_agent.gauges.power import find_power
from edgekit_agent.gauges.sysfs import MILLI, number, readable
from edgekit_agent.gauges.throttling import Throttled, find_throttling

READ_S = 0.95  # a worker reports about once a second
COLDEST_C, HOTTEST_C = -60.0, 200.0
"""A zone without a sensor says -273 or 2^31: that is no temperature."""

Values = Mapping[str, float | int]


@dataclass(frozen=True, slots=True)
class _Used:
    at_s: float
    cpu_s: float
    values: Values


class Gauges:
    """Which files are there is found out once: what is missing is not reported, and not looked for again."""

    def __init__(self, root: Path = Path("/")) -> None:
        """Look for what is below a root folder: `/`, or a tree of a test."""
        self._root = root
        self._zones = readable(root, "sys/class/thermal/thermal_zone*/temp")
        self._clocks = readable(root, "sys/devices/system/cpu/cpufreq/policy*/scaling_cur_freq")
        self._throttling = find_throttling(root)
        self._power = find_power(root)
        self._device_at: float | None = None
        self._device: Values = {}
        self._used: dict[int, _Used] = {}

    def device(self, now_s: float) -> Values:
        """Return what is known of `temperature_c`, `frequency_mhz`, `throttled` (bits of `Throttled`) and `power_w`.

        Args:
            now_s: the steady clock; within a second of a reading that one is returned.
        """
        if self._device_at is None or now_s - self._device_at >= READ_S:
            self._device_at = now_s
            found = {
                "temperature_c": self._temperature(),
                "frequency_mhz": max((MILLI * value for value in map(number, self._clocks) if value), default=None),
                "throttled": self._throttled(),
                "power_w": self._power(now_s) if self._power else None,
            }
            self._device = {name: value for name, value in found.items() if value is not None}
        return self._device

    def process(self, pid: int, now_s: float) -> Values:
        """Return a process's `rss_bytes`, and its `cpu_percent` of one core since the last reading."""
        last = self._used.get(pid)
        if last is not None and now_s - last.at_s < READ_S:
            return last.values
        folder = self._root / "proc" / str(pid)
        try:
            pages = int((folder / "statm").read_text().split()[1])
            # the name in brackets may hold anything: fields are counted from behind it (proc(5): utime 14, stime 15)
            words = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            cpu_s = (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")
        except (OSError, ValueError, IndexError):
            self.forget(pid)
            return {}
        values: dict[str, float | int] = {"rss_bytes": pages * os.sysconf("SC_PAGE_SIZE")}
        if last is not None:
            values["cpu_percent"] = round(100 * (cpu_s - last.cpu_s) / (now_s - last.at_s), 1)
        self._used[pid] = _Used(now_s, cpu_s, values)
        return values

    def forget(self, pid: int) -> None:
        """Forget an ended process: its number may come again."""
        self._used.pop(pid, None)

    def _temperature(self) -> float | None:
        """Return the hottest zone's temperature."""
        found = [round(MILLI * value, 1) for value in map(number, self._zones) if value is not None]
        return max((one for one in found if COLDEST_C < one < HOTTEST_C), default=None)

    def _throttled(self) -> int | None:
        found = [bits for bits in (read() for read in self._throttling) if bits is not None]
        if not found:
            return None
        together = Throttled(0)
        for bits in found:
            together |= bits
        return int(together)
