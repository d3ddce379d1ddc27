"""Who stands between the service and its devices and hears both: what was told, and what was done."""

import json
import threading
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion

MODEL = "kws"


@dataclass
class Heard:
    """What was heard of one device; `told` is the release of each desired state, by its number."""

    told: dict[int, dict[str, Any]] = field(default_factory=dict)
    granted: dict[int, set[str]] = field(default_factory=dict)
    serving: str = ""
    v: int = 0


class Witness:
    """Hears every desired state, leave and report of a device in the broker's order.

    `bad` has what must never be: a release put to work that the device was told to leave already, or without leave
    where that was asked for.
    """

    def __init__(self, port: int) -> None:
        """Connect in the background."""
        self.devices: dict[str, Heard] = {}
        self.bad: list[str] = []
        self.counts: Counter[str] = Counter()
        self._lock = threading.Lock()
        self.ready = threading.Event()
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "witness", protocol=paho.MQTTv5)
        self.client.on_connect = lambda client, *_: client.subscribe(
            [("ek/1/+/+/desired", 1), ("ek/1/+/+/reported", 1)]
        )
        self.client.on_subscribe = lambda *_: self.ready.set()
        self.client.on_message = self._message
        self.client.connect_async("127.0.0.1", port)
        self.client.loop_start()

    def _message(self, _client: Any, _data: Any, message: Any) -> None:
        if not message.payload:
            return
        _, _, _, name, kind = message.topic.split("/")
        body = json.loads(message.payload)
        with self._lock:
            heard = self.devices.setdefault(name, Heard())
            if kind == "desired":
                self._desired(heard, body)
            else:
                self._reported(name, heard, body)

    def _desired(self, heard: Heard, body: dict[str, Any]) -> None:
        v = body["v"]
        if "lease" in body:
            self.counts["leave given"] += body["lease"] not in heard.granted.setdefault(v, set())
            heard.granted[v].add(body["lease"])
            return
        model: dict[str, Any] = next((one for one in body["models"] if one["name"] == MODEL), {})
        said = {"version": model.get("version"), "back": bool(model.get("back")), "lease": "lease_s" in body}
        said["rollout"] = body.get("rollout")
        if v in heard.told:
            self.counts["told again after a restart"] += 1
            if heard.told[v] != said:
                self.bad.append(f"version {v} of a desired state was {heard.told[v]} and is {said}")
        else:
            self.counts["told"] += 1
        heard.told[v] = said

    def _reported(self, name: str, heard: Heard, body: dict[str, Any]) -> None:
        model: dict[str, Any] = next((one for one in body["models"] if one["name"] == MODEL), {})
        before, heard.v = heard.serving, body["v"]
        heard.serving = model.get("serving") or before
        if not before or heard.serving == before:
            return
        self.counts["activations"] += 1
        told = heard.told.get(heard.v)
        if told is None or told["version"] != heard.serving:
            # by what it has heard itself: a desired state that crosses its report is no order to it yet
            self.bad.append(f"{name} went from {before} to {heard.serving} while v {heard.v} wants {told}")
        elif (
            name.startswith("edge") and told["lease"] and len(heard.granted.get(heard.v, ())) < 2
        ):  # to try it, and to keep it
            self.bad.append(f"{name} went to {heard.serving} (v {heard.v}) without leave")

    def serving(self, names: list[str]) -> dict[str, str]:
        """Return what devices say they serve."""
        with self._lock:
            return {name: self.devices[name].serving if name in self.devices else "" for name in names}

    def times_told(self, name: str, rollout: str) -> int:
        """Return by how many desired states a device was told of a rollout's release."""
        with self._lock:
            told = self.devices[name].told.values() if name in self.devices else ()
            return sum(one["rollout"] == rollout and not one["back"] for one in told)

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()
