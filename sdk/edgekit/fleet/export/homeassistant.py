"""Home Assistant: devices and models appear there by MQTT discovery, with figures that fade when they grow old.

Discovery messages are retained, one a device and one a device and model (`homeassistant/device/ID/config`, Home
Assistant 2024.11 and later). A device is available while the fleet's presence says `online` and this bridge runs;
what the store no longer knows is taken away again, also when it was forgotten while the bridge was not there.
"""

import hashlib
import json
import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from edgekit.fleet.export.outlet import Outlet, Will
from edgekit.fleet.export.summary import figures
from edgekit.fleet.store.base import DeviceKey, DeviceRow, ReportRow
from edgekit.fleet.store.series import hardware_name
from edgekit.fleet.store.writer import DEVICE_LIMIT
from edgekit_agent import __version__

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

DEVICES_EVERY_S = 5.0
REPORTS_A_STEP = 2_000
MODELS_A_DEVICE = 32
TEXT_LIMIT = 128
OLD_WINDOWS, OLD_LEAST_S = 5, 60
_UNSAFE = re.compile(r"[^a-z0-9-]+")
# unit, device class of Home Assistant, name
_MEANING: Mapping[str, tuple[str | None, str | None, str]] = MappingProxyType(
    {
        "rate_hz": ("Hz", "frequency", "inferences a second"),
        "errors": (None, None, "errors"),
        "dropped": (None, None, "dropped inputs"),
        "cpu_percent": ("%", None, "processor"),
        "memory_bytes": ("B", "data_size", "memory"),
        "temperature_c": ("°C", "temperature", "temperature"),
        "throttled": (None, None, "throttled"),
        "frequency_mhz": ("MHz", "frequency", "clock"),
        "power_w": ("W", "power", "power"),
        "queue": (None, None, "requests waiting"),
    }
    | {
        f"{stage}_{name}_ms": ("ms", "duration", f"{stage} {name}")
        for stage in ("infer", "e2e")
        for name in ("p50", "p90", "p99")
    }
)


@dataclass(slots=True)
class _Told:
    """What a model's discovery message has told: the figures, and how long one counts."""

    figures: set[str]
    old_s: int


class HomeAssistantBridge:
    """Tells Home Assistant of devices, models and their newest figures."""

    name = "homeassistant"

    def __init__(self, store: "Store", *, prefix: str = "homeassistant", base: str = "edgekit") -> None:
        """Read the store.

        Args:
            store: what is known of the fleet.
            prefix: Home Assistant's discovery prefix.
            base: where the figures are told; one a fleet, where several use one broker.
        """
        self._store, self._prefix, self._base = store, prefix, base
        self.client_id = f"edgekit-{self.name}-{base}"
        self.counted: Counter[str] = Counter()
        self._retained: dict[str, str] = {}  # topic -> digest of what the broker keeps for us
        self._told: dict[tuple[DeviceKey, str], _Told] = {}
        self._devices: dict[DeviceKey, DeviceRow] = {}
        self._cursor = store.reports.cursor()
        self._looked_s = 0.0

    # --- the bridge

    def will(self) -> Will:
        """Return that nothing of ours is available."""
        return Will(f"{self._base}/bridge/availability", b"offline", retain=True)

    def subscriptions(self) -> tuple[str, ...]:
        """Return the filters of our own retained messages, to find those of devices that are gone."""
        return (f"{self._prefix}/device/+/config", f"{self._base}/+/+/availability")

    def begin(self, outlet: Outlet) -> None:
        """Say that the bridge is there; everything is told anew."""
        self._retained.clear()
        self._looked_s = 0.0
        outlet.publish(f"{self._base}/bridge/availability", b"online", retain=True)

    def heard(self, topic: str, payload: bytes) -> None:
        """Note what the broker keeps of ours."""
        if not payload or topic == f"{self._base}/bridge/availability":
            return
        if topic.startswith(f"{self._base}/") or self._is_ours(payload):
            self._retained[topic] = _digest(payload)

    def step(self, outlet: Outlet) -> None:
        """Tell devices that changed, take away those that are gone, and tell the newest figures."""
        if time.monotonic() - self._looked_s >= DEVICES_EVERY_S:
            self._looked_s = time.monotonic()
            self._tell_devices(outlet)
        newest: dict[tuple[DeviceKey, str], ReportRow] = {}
        rows = self._store.reports.since(self._cursor, REPORTS_A_STEP)
        for row in rows:
            self._cursor = row.id
            if not row.history:
                newest[DeviceKey(row.site, row.device), row.model] = row
        for (key, model), row in newest.items():
            self._tell_report(outlet, key, model, row)
        outlet.settle()
        self.counted["read"] += len(rows)

    def end(self, outlet: Outlet) -> None:
        """Say that nothing is available."""
        outlet.publish(f"{self._base}/bridge/availability", b"offline", retain=True)
        outlet.settle()

    # --- devices

    def _tell_devices(self, outlet: Outlet) -> None:
        self._devices = {row.key: row for row in self._store.devices.all(DEVICE_LIMIT)}
        wanted: set[str] = set()
        for row in self._devices.values():
            place = f"{self._base}/{row.site}/{row.device}"
            self._keep(outlet, f"{place}/availability", b"online" if row.presence == "online" else b"offline")
            self._keep(outlet, self._config_topic(row.key), self._device_config(row))
            wanted |= {f"{place}/availability", self._config_topic(row.key)}
            wanted |= {self._config_topic(row.key, model.name) for model in row.models[:MODELS_A_DEVICE]}
        for topic in set(self._retained) - wanted:
            outlet.publish(topic, b"", retain=True)
            del self._retained[topic]
            self.counted["removed"] += 1
        self._told = {at: told for at, told in self._told.items() if self._config_topic(*at) in wanted}

    def _tell_report(self, outlet: Outlet, key: DeviceKey, model: str, row: ReportRow) -> None:
        device = self._devices.get(key)
        if device is None or not _serves(device, model):  # perhaps it is new since they were looked at
            device = self._store.devices.get(key)
            if device is None or not _serves(device, model):
                self.counted["left_out"] += 1  # forgotten, or one model too many
                return
            self._devices[key] = device
        values = figures(row)
        old_s = max(OLD_LEAST_S, int(OLD_WINDOWS * row.window_s))
        told = self._told.setdefault((key, model), _Told(set(), old_s))
        told.figures |= set(values) & set(_MEANING)
        told.old_s = max(told.old_s, old_s)
        self._keep(outlet, self._config_topic(key, model), self._model_config(device, model, told))
        body = {**values, "version": row.version[:TEXT_LIMIT], "at_ms": row.at_ms}
        outlet.publish(self._figures_topic(key, model), _packed(body))
        self.counted["published"] += 1

    def _keep(self, outlet: Outlet, topic: str, payload: bytes) -> None:
        digest = _digest(payload)
        if self._retained.get(topic) != digest:
            outlet.publish(topic, payload, retain=True)
            self._retained[topic] = digest
            self.counted["published"] += 1

    # --- what is told

    def _device_config(self, row: DeviceRow) -> bytes:
        place = f"{self._base}/{row.site}/{row.device}"
        there = {
            "p": "binary_sensor",
            "name": "connection",
            "dev_cla": "connectivity",
            "stat_t": f"{place}/availability",
        }
        there |= {"pl_on": "online", "pl_off": "offline", "uniq_id": f"{_id(row.key)}_connection"}
        bridge = [{"t": f"{self._base}/bridge/availability"}]
        return _packed({**self._about(row), "avty": bridge, "cmps": {"connection": there}})

    def _model_config(self, row: DeviceRow, model: str, told: _Told) -> bytes:
        name, slug = model[:TEXT_LIMIT], _slug(model)
        parts = {}
        for figure in sorted(told.figures):
            unit, kind, meaning = _MEANING[figure]
            part = {"p": "sensor", "name": f"{name} {meaning}", "uniq_id": f"{_id(row.key)}_{slug}_{figure}"}
            part |= {"val_tpl": f"{{{{ value_json.{figure} | default(None) }}}}", "stat_cla": "measurement"}
            parts[figure] = part | ({"unit_of_meas": unit} if unit else {}) | ({"dev_cla": kind} if kind else {})
        version = {"p": "sensor", "name": f"{name} version", "uniq_id": f"{_id(row.key)}_{slug}_version"}
        parts["version"] = version | {"val_tpl": "{{ value_json.version }}"}
        for part in parts.values():
            part["exp_aft"] = told.old_s  # type: ignore[assignment]  # a number among texts
        topics = (f"{self._base}/bridge/availability", f"{self._base}/{row.site}/{row.device}/availability")
        available = {"avty": [{"t": topic} for topic in topics], "avty_mode": "all"}
        return _packed({**self._about(row), **available, "stat_t": self._figures_topic(row.key, model), "cmps": parts})

    def _about(self, row: DeviceRow) -> dict[str, Any]:
        device = {"ids": [_id(row.key)], "name": row.device, "mdl": hardware_name(dict(row.hardware))[:TEXT_LIMIT]}
        device |= {"sw": (row.agent or "unknown")[:TEXT_LIMIT], "sa": row.site}
        return {"dev": device, "o": {"name": "EdgeKit", "sw": __version__}}

    def _config_topic(self, key: DeviceKey, model: str | None = None) -> str:
        tail = f"_{_slug(model)}" if model is not None else ""
        return f"{self._prefix}/device/{_id(key)}{tail}/config"

    def _figures_topic(self, key: DeviceKey, model: str) -> str:
        return f"{self._base}/{key.site}/{key.device}/model/{_slug(model)}"

    def _is_ours(self, payload: bytes) -> bool:
        """Whether a discovery message is one of this fleet's bridge."""
        try:
            body = json.loads(payload)
            told: Iterable[Any] = body["avty"]
            return bool(body["o"]["name"] == "EdgeKit") and {"t": f"{self._base}/bridge/availability"} in told
        except (ValueError, KeyError, TypeError, RecursionError):
            return False


def _serves(row: DeviceRow, model: str) -> bool:
    return model in [one.name for one in row.models[:MODELS_A_DEVICE]]


def _id(key: DeviceKey) -> str:
    return f"edgekit_{key.site}_{key.device}"  # names have no '_'


def _slug(model: str) -> str:
    """Return a model's name as a part of a topic; two models never share one."""
    safe = _UNSAFE.sub("-", model.lower())[:40]
    return safe if safe == model else f"{safe}-{hashlib.sha256(model.encode('utf-8', 'replace')).hexdigest()[:8]}"


def _packed(body: Mapping[str, Any]) -> bytes:
    return json.dumps(body, separators=(",", ":"), ensure_ascii=False).encode("utf-8", "replace")


def _digest(payload: bytes) -> str:
    return hashlib.sha256(payload).hexdigest()[:32]
