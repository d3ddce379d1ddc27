"""The device's electrical power: of a sensor on the board, or of the processor's energy counters."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

from edgekit_agent.gauges.sysfs import MICRO, number, text

WHOLE_BOARD = ("VDD_IN", "POM_5V_IN", "VDD_SYS")
"""What NVIDIA's boards call the rail that feeds everything (Jetson Linux developer guide, power monitors)."""

ReadPower = Callable[[float], float | None]


def find_power(root: Path) -> ReadPower | None:
    """Return a function of the steady clock (s) that gives watts, or None while it cannot say; None without a sensor.

    A sensor of the whole board comes before the processor's own counters, because it sees the rest too.
    """
    folders = sorted(root.glob("sys/class/hwmon/hwmon*"))
    for find in (_rail, _sensor):
        for folder in folders:
            reader = find(folder)
            if reader is not None:
                return reader
    packages = [
        file
        for file in sorted(root.glob("sys/class/powercap/intel-rapl:*/energy_uj"))
        if file.parent.name.count(":") == 1 and number(file) is not None  # a part of a package has two colons
    ]
    return Energy(packages) if packages else None


class Energy:
    """Watts from counters of microjoules, one a processor package, that begin again at zero (Linux powercap, RAPL)."""

    def __init__(self, files: list[Path]) -> None:
        """Name the counters."""
        self._files = files
        self._ranges = [number(file.with_name("max_energy_range_uj")) or 0 for file in files]
        self._last: tuple[float, list[int | None]] | None = None

    def __call__(self, now_s: float) -> float | None:
        """Return the mean power since the last call; None for the first."""
        counts = [number(file) for file in self._files]
        last, self._last = self._last, (now_s, counts)
        if last is None or now_s <= last[0]:
            return None
        joules = 0.0
        for before, after, wrap in zip(last[1], counts, self._ranges, strict=True):
            if before is None or after is None:
                return None
            joules += MICRO * (after - before + (wrap if after < before else 0))
        return round(joules / (now_s - last[0]), 3)


def _rail(folder: Path) -> ReadPower | None:
    """Find an INA3221's rail that feeds the whole board: millivolts times milliamperes."""
    for label in sorted(folder.glob("in*_label")):
        if text(label) in WHOLE_BOARD:
            channel = label.name.removeprefix("in").removesuffix("_label")
            reader = partial(_product, folder / f"in{channel}_input", folder / f"curr{channel}_input")
            if reader(0.0) is not None:
                return reader
    return None


def _sensor(folder: Path) -> ReadPower | None:
    """Find a sensor that gives microwatts."""
    reader = partial(_microwatts, folder / "power1_input")
    return reader if reader(0.0) is not None else None


def _product(millivolts: Path, milliamperes: Path, _now_s: float) -> float | None:
    volts, amperes = number(millivolts), number(milliamperes)
    return None if volts is None or amperes is None else round(MICRO * volts * amperes, 3)


def _microwatts(file: Path, _now_s: float) -> float | None:
    value = number(file)
    return None if value is None else round(MICRO * value, 3)
