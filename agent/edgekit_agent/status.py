"""What a running agent says of itself on the device: collected as it happens, put together when somebody asks."""

from collections import deque
from collections.abc import Mapping
from typing import Any

from edgekit_agent.actions import Now
from edgekit_agent.protocol import Event, Report

SCHEMA = 1
LAST_EVENTS = 10


class Board:
    """The last window of each release, the last events that are more than news, and how the connection stands."""

    def __init__(self, now: Now) -> None:
        """Begin with nothing."""
        self._since = now.s
        self._reports: dict[tuple[str, str], tuple[float, Report]] = {}
        self._events: deque[Event] = deque(maxlen=LAST_EVENTS)
        self._broker: dict[str, object] = {"connected": False}
        self._broker_since = now.s

    def report(self, report: Report, now: Now) -> None:
        """Note a report."""
        self._reports[report.model, report.version] = now.s, report

    def event(self, event: Event) -> None:
        """Note an event."""
        if event.level != "info":
            self._events.append(event)

    def connected(self, protocol: str, now: Now) -> None:
        """Note a connection."""
        self._broker, self._broker_since = {"connected": True, "protocol": protocol}, now.s

    def disconnected(self, reason: str, now: Now) -> None:
        """Note the end of a connection, or another try that failed."""
        if self._broker["connected"]:
            self._broker_since = now.s
        self._broker = {"connected": False, "reason": reason}

    def document(self, now: Now) -> dict[str, Any]:
        """Return `up_s`, `broker` and `errors`."""
        return {
            "schema": SCHEMA,
            "up_s": round(now.s - self._since, 1),
            "broker": {**self._broker, "for_s": round(now.s - self._broker_since, 1)},
            "errors": [event.to_json() for event in self._events],
        }

    def window(self, crew: Mapping[str, Any], now: Now) -> dict[str, object] | None:
        """Return what the last report of a release said."""
        at_s, report = self._reports.get((crew["name"], crew["version"]), (0.0, None))
        if report is None:
            return None
        figures = {
            f"{name}_ms": round(1000 * report.latency.e2e.quantile(share), 4) if report.latency.e2e.count else None
            for name, share in (("p50", 0.5), ("p99", 0.99))
        }
        return {
            "ago_s": round(now.s - at_s, 1),
            "window_s": report.window_s,
            "inferences": report.inferences,
            "errors": sum(report.errors.values()),
            "dropped": report.dropped,
            **figures,
        }


def lines(document: Mapping[str, Any]) -> list[str]:
    """Return the document for a person; what a newer agent says more is left out."""
    broker, spool = document["broker"], document["spool"]
    state = (
        f"connected, MQTT {broker['protocol']}" if broker["connected"] else f"away: {broker.get('reason', 'not yet')}"
    )
    found = [
        f"agent {document['agent']} on {document['device']} ({document['site']}), up {_time(document['up_s'])}",
        f"broker {broker['url']}: {state}, for {_time(broker['for_s'])}",
        f"reports: {spool['waiting']} waiting, {spool['dropped']} lost"
        + (f", in memory only: {spool['trouble']}" if spool["trouble"] else ""),
    ]
    gauges = {name: value for name, value in document["gauges"].items() if value is not None}
    if gauges:
        found.append("device: " + ", ".join(f"{name} {value:g}" for name, value in gauges.items()))
    configuration = document["configuration"]
    if configuration:
        found.append(f"configuration v{configuration['v']}: {configuration['status']}")
    for model in document["models"]:
        found += _of_model(model)
    for update in document["updates"]:
        reason = f" ({update['reason']})" if update.get("reason") else ""
        found.append(f"update {update['name']} {update['version']}: {update['phase']}{reason}")
    for event in document["errors"]:
        about = f" {event['model']}" if event.get("model") else ""
        found.append(f"{event['lvl']}:{about} {event['msg']} ({event['code']})")
    return found


def _of_model(model: Mapping[str, Any]) -> list[str]:
    name = f"model {model['name']} {model['version']}" + ("" if model["current"] else " (another release)")
    where = f" on {model['runtime']} ({', '.join(model['executed_on'])})" if model["runtime"] else ""
    state = ", stopped after too many crashes" if model["broken"] else ", drift suspected" if model["drift"] else ""
    found = [f"{name}{where}: {model['crashes']} crashes{state}"]
    for worker in model["workers"]:
        memory = f", {worker['rss_bytes'] / 1e6:.1f} MB" if worker.get("rss_bytes") else ""
        share = f", {worker['cpu_percent']:g} % of a core" if worker.get("cpu_percent") is not None else ""
        found.append(f"  worker {worker['number']}: {worker['phase']}, pid {worker.get('pid', '-')}{memory}{share}")
    window = model["window"]
    if window is not None:
        latency = f", p50 {window['p50_ms']:g} ms, p99 {window['p99_ms']:g} ms" if window["p50_ms"] is not None else ""
        counts = f"{window['inferences']} inferences, {window['errors']} errors, {window['dropped']} dropped"
        found.append(f"  last {window['window_s']:g} s, {_time(window['ago_s'])} ago: {counts}{latency}")
    return found


def _time(seconds: float) -> str:
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
