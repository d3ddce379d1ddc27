"""The rows of the live view: what is known now, and what has changed since a number. No I/O.

A client remembers one number, so however slow it is, nothing piles up for it: what it gets next is what changed since,
each row once.
"""

import secrets
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from edgekit.fleet.api.filters import Match
from edgekit.fleet.store import DeviceRow, hardware_name
from edgekit.fleet.store.live import Newest

COLUMNS = (
    "id", "site", "device", "model", "version", "presence", "reason", "last_seen_ms", "at_ms",
    "p50_ms", "p90_ms", "p99_ms", "rate_hz", "errors", "temp", "cpu", "rss", "hardware",
)  # fmt: skip
Values = tuple[Any, ...]


@dataclass(slots=True)
class _Row:
    changed: int
    values: Values
    device: DeviceRow


class Board:
    """One row a device and model; a device without any has a row of its own."""

    def __init__(self) -> None:
        """Begin empty."""
        self.epoch = secrets.token_hex(4)
        self.version = 0
        self._rows: dict[str, _Row] = {}
        self._gone: dict[str, int] = {}
        self._devices: dict[int, DeviceRow] = {}
        self._numbers: dict[tuple[str, str], int] = {}
        self._newest: dict[int, dict[str, Newest]] = {}
        self._keys: dict[int, set[str]] = {}

    def reset(self, devices: Iterable[DeviceRow], newest: Iterable[Newest]) -> None:
        """Begin again with all devices and the newest report of each model."""
        self.epoch = secrets.token_hex(4)
        self._rows, self._gone, self._newest, self._keys = {}, {}, {}, {}
        known = list(devices)
        self._devices = {device.id: device for device in known}
        self._numbers = {(device.site, device.device): device.id for device in known}
        for report in newest:
            self._keep(report)
        self.version += 1
        for device in known:
            self._draw(device)

    def update(self, devices: Iterable[DeviceRow], reports: Iterable[Newest]) -> None:
        """Take reports in the order of commits, and devices that changed or are new, read after the reports."""
        touched = set()
        for device in devices:
            self._devices[device.id] = device
            self._numbers[device.site, device.device] = device.id
            touched.add(device.id)
            # a model that is not served any more has no row
            served = {model.name for model in device.models}
            old = self._newest.get(device.id, {})
            self._newest[device.id] = {name: report for name, report in old.items() if name in served}
        for report in reports:
            if self._keep(report):
                touched.add(report.device_id)
        if touched:
            self.version += 1
            for number in touched:
                if number in self._devices:
                    self._draw(self._devices[number])

    def known(self, number: int) -> bool:
        """Whether a device of that number is on the board."""
        return number in self._devices

    def lets(self, site: str, device: str, match: Match) -> bool:
        """Whether a device is known and let through."""
        number = self._numbers.get((site, device))
        return number is not None and match(self._devices[number])

    def since(self, version: int, match: Match | None, shown: set[str]) -> tuple[list[Values], list[str]]:
        """Return the rows that changed after a version and let through, and the ids of those that left.

        Args:
            version: What the client has; 0 is nothing.
            match: Lets a device through; None lets all.
            shown: With a filter, the ids that the client shows; it is brought up to date.
        """
        rows: list[Values] = []
        gone = [key for key, changed in self._gone.items() if changed > version > 0 and (match is None or key in shown)]
        shown.difference_update(gone)
        for key, row in self._rows.items():
            if row.changed <= version:
                continue
            if match is None or match(row.device):
                rows.append(row.values)
                if match is not None:
                    shown.add(key)
            elif key in shown:
                gone.append(key)
                shown.discard(key)
        return rows, gone

    def _keep(self, report: Newest) -> bool:
        """Keep a report unless a newer one of the model is there: one that was resent speaks of the past."""
        models = self._newest.setdefault(report.device_id, {})
        old = models.get(report.model)
        if old is not None and old.at_ms > report.at_ms:
            return False
        models[report.model] = report
        return True

    def _draw(self, device: DeviceRow) -> None:
        """Write a device's rows anew, those that are other than before."""
        reports = self._newest.get(device.id, {})
        served = {model.name: model.version for model in device.models}
        served |= {name: report.version for name, report in reports.items()}
        before = f"{device.site}/{device.device}/"
        keys = {before + name: name for name in served} or {before: ""}
        seen_ms = max([device.last_seen_ms, device.last_report_ms or 0, *(one.arrived_ms for one in reports.values())])
        hardware = hardware_name(dict(device.hardware))
        state = (device.presence, device.presence_reason, seen_ms)
        for key, name in keys.items():
            place = (key, device.site, device.device, name, served.get(name, ""))
            values = (*place, *state, *_figures(reports.get(name)), hardware)
            old = self._rows.get(key)
            if old is None or old.values != values or old.device is not device:
                self._rows[key] = _Row(self.version, values, device)
                self._gone.pop(key, None)
        for key in self._keys.get(device.id, set()) - keys.keys():
            del self._rows[key]
            self._gone[key] = self.version
        self._keys[device.id] = set(keys)


def _figures(report: Newest | None) -> Values:
    if report is None:
        return (None,) * 9
    latency = (_short(report.p50_ms), _short(report.p90_ms), _short(report.p99_ms), _short(report.rate_hz))
    return (report.at_ms, *latency, report.errors, report.temp, _short(report.cpu), report.rss)


def _short(value: float | None) -> float | None:
    """Four digits: what a table shows has three."""
    return None if value is None else float(f"{value:.4g}")
