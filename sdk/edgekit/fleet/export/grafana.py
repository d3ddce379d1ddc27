"""Three dashboards for Grafana, over what Prometheus has scraped: the fleet, its models, its hardware.

They need native histograms: see `docs/guide/exporters.md`.
"""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

WIDTH = 24
_SOURCE = {"type": "prometheus", "uid": "${source}"}
_WHERE = 'site=~"$site",model=~"$model",hardware=~"$hardware"'
_LATENCY = f'edgekit_latency_seconds{{{_WHERE},stage="$stage"}}'
_RATE = "[$__rate_interval]"
_PRESENCE = {"online": "green", "stale": "orange", "offline": "red", "stopped": "blue", "unknown": "gray"}

Panel = dict[str, Any]


def dashboards() -> dict[str, dict[str, Any]]:
    """Return the dashboards by file name."""
    return {
        "edgekit-fleet.json": _dashboard("edgekit-fleet", "EdgeKit: fleet", ("site",), _fleet()),
        "edgekit-models.json": _dashboard(
            "edgekit-models", "EdgeKit: models", ("site", "model", "hardware", "stage"), _models()
        ),
        "edgekit-hardware.json": _dashboard(
            "edgekit-hardware", "EdgeKit: hardware", ("site", "model", "hardware"), _hardware()
        ),
    }


def write(folder: Path) -> list[Path]:
    """Write the dashboards into a folder; return the files."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for name, dashboard in dashboards().items():
        path = folder / name
        beside = folder / f".{name}.new"
        beside.write_text(json.dumps(dashboard, indent=2) + "\n")
        beside.replace(path)
        written.append(path)
    return written


def _fleet() -> list[Panel]:
    at_site = '{site=~"$site"}'
    return [
        _stat("Devices", f"sum(edgekit_devices{at_site})"),
        _stat("Online", 'sum(edgekit_devices{site=~"$site",presence="online"})'),
        _stat("Not there", 'sum(edgekit_devices{site=~"$site",presence=~"offline|stale|unknown"})'),
        _stat("Inferences a second", f"sum(rate(edgekit_inferences_total{at_site}{_RATE}))"),
        _lines("Presence", {"{{presence}}": f"sum by (presence) (edgekit_devices{at_site})"}, colours=_PRESENCE),
        _lines("Why not there", {"{{reason}}": 'sum by (reason) (edgekit_devices{site=~"$site",presence!="online"})'}),
        _lines("Devices by version", {"{{model}} {{version}}": "edgekit_model_devices"}),
        _lines(
            "Errors a second", {"{{model}}": f"sum by (model) (rate(edgekit_inference_errors_total{at_site}{_RATE}))"}
        ),
        _lines(
            "Messages of devices",
            {"{{outcome}}": f"sum by (outcome) (rate(edgekit_ingest_messages_total{_RATE}))"},
        ),
        _lines(
            "Waiting, and left out",
            {
                "not in minutes yet": "edgekit_rollup_waiting_reports",
                "not in metrics yet": "edgekit_metrics_waiting_reports",
                "beyond the limit of groups": f"rate(edgekit_metrics_overflowed_reports_total{_RATE})",
            },
        ),
    ]


def _models() -> list[Panel]:
    def quantile(q: float, by: str) -> str:
        return f"histogram_quantile({q}, sum by ({by}) (rate({_LATENCY}{_RATE})))"

    return [
        _heatmap("Latency ($stage)", f"sum(rate({_LATENCY}{_RATE}))"),
        _lines(
            "Percentiles ($stage)",
            {name: f"histogram_quantile({q}, sum(rate({_LATENCY}{_RATE})))" for name, q in _QUANTILES.items()},
            unit="s",
        ),
        _lines("p99 by version ($stage)", {"{{model}} {{version}}": quantile(0.99, "model, version")}, unit="s"),
        _lines("p99 by hardware ($stage)", {"{{hardware}}": quantile(0.99, "hardware")}, unit="s"),
        _lines(
            "Inferences a second",
            {"{{model}} {{version}}": f"sum by (model, version) (rate(edgekit_inferences_total{{{_WHERE}}}{_RATE}))"},
        ),
        _lines(
            "Share that failed",
            {
                "{{model}} {{version}}": (
                    f"sum by (model, version) (rate(edgekit_inference_errors_total{{{_WHERE}}}{_RATE})) / "
                    f"sum by (model, version) (rate(edgekit_inferences_total{{{_WHERE}}}{_RATE}))"
                )
            },
            unit="percentunit",
        ),
        _lines(
            "Inputs left out a second",
            {"{{model}}": f"sum by (model) (rate(edgekit_inferences_dropped_total{{{_WHERE}}}{_RATE}))"},
        ),
    ]


_QUANTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}


def _hardware() -> list[Panel]:
    def gauge(name: str) -> dict[str, str]:
        return {
            "{{hardware}} most": f'max by (hardware) ({name}{{{_WHERE},of="most"}})',
            "{{hardware}} mean": f'avg by (hardware) ({name}{{{_WHERE},of="mean"}})',
        }

    return [
        _lines("Temperature", gauge("edgekit_temperature_celsius"), unit="celsius"),
        _lines("Processor", gauge("edgekit_cpu_percent"), unit="percent"),
        _lines("Memory of models", gauge("edgekit_memory_bytes"), unit="bytes"),
        _lines("Clock", gauge("edgekit_frequency_hertz"), unit="hertz"),
        _lines("Power", gauge("edgekit_power_watts"), unit="watt"),
        _lines("Requests waiting", gauge("edgekit_queue_requests")),
        _lines("Held back (0: not)", {"{{hardware}}": f'max by (hardware) (edgekit_throttled{{{_WHERE},of="most"}})'}),
        _lines(
            "Share of the time that reports cover",
            {"{{hardware}}": f"sum by (hardware) (rate(edgekit_measured_seconds_total{{{_WHERE}}}{_RATE}))"},
        ),
    ]


# --- Grafana's forms


def _panel(kind: str, title: str, queries: Mapping[str, str], size: tuple[int, int], **more: object) -> Panel:
    targets = [
        {"refId": chr(ord("A") + at), "datasource": _SOURCE, "expr": expression, "legendFormat": legend}
        for at, (legend, expression) in enumerate(queries.items())
    ]
    grid = {"w": size[0], "h": size[1]}
    return {"type": kind, "title": title, "datasource": _SOURCE, "gridPos": grid, "targets": targets, **more}


def _stat(title: str, expression: str) -> Panel:
    field = {"defaults": {"unit": "short", "color": {"mode": "fixed", "fixedColor": "text"}}, "overrides": []}
    reduce = {"calcs": ["lastNotNull"], "fields": "", "values": False}
    return _panel("stat", title, {title: expression}, (6, 4), fieldConfig=field, options={"reduceOptions": reduce})


def _lines(
    title: str, queries: Mapping[str, str], *, unit: str = "short", colours: Mapping[str, str] | None = None
) -> Panel:
    overrides = [
        {
            "matcher": {"id": "byName", "options": name},
            "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}],
        }
        for name, colour in (colours or {}).items()
    ]
    # a gap stays a gap: what was said last is no present
    custom = {"drawStyle": "line", "lineWidth": 1, "fillOpacity": 5, "spanNulls": False, "showPoints": "never"}
    field = {"defaults": {"unit": unit, "custom": custom}, "overrides": overrides}
    options = {"legend": {"displayMode": "list", "placement": "bottom"}, "tooltip": {"mode": "multi", "sort": "desc"}}
    return _panel("timeseries", title, queries, (12, 8), fieldConfig=field, options=options)


def _heatmap(title: str, expression: str) -> Panel:
    options = {
        "calculate": False,
        "yAxis": {"unit": "s"},
        "color": {"mode": "scheme", "scheme": "Oranges", "steps": 64},
        "cellGap": 0,
    }
    panel = _panel("heatmap", title, {"": expression}, (24, 9), options=options)
    panel["targets"][0]["format"] = "heatmap"
    return panel


def _dashboard(uid: str, title: str, variables: Sequence[str], panels: list[Panel]) -> dict[str, Any]:
    return {
        "uid": uid,
        "title": title,
        "tags": ["edgekit"],
        "schemaVersion": 39,
        "version": 1,
        "editable": True,
        "refresh": "30s",
        "time": {"from": "now-6h", "to": "now"},
        "templating": {"list": [_source(), *(_variable(name) for name in variables)]},
        "panels": _laid_out(panels),
    }


def _laid_out(panels: list[Panel]) -> list[Panel]:
    """Give panels their numbers and places, from left to right in rows."""
    x = y = height = 0
    for number, panel in enumerate(panels, 1):
        place = panel["gridPos"]
        if x + place["w"] > WIDTH:
            x, y, height = 0, y + height, 0
        panel["id"] = number
        panel["gridPos"] = {**place, "x": x, "y": y}
        x, height = x + place["w"], max(height, place["h"])
    return panels


def _source() -> dict[str, Any]:
    return {"type": "datasource", "name": "source", "label": "Prometheus", "query": "prometheus"}


def _variable(name: str) -> dict[str, Any]:
    if name == "stage":
        stages = ("infer", "e2e", "pre", "post", "queue")
        options = [{"text": one, "value": one, "selected": one == "infer"} for one in stages]
        return {
            "type": "custom", "name": "stage", "query": ",".join(stages), "options": options, "current": options[0],
        }  # fmt: skip
    return {
        "type": "query",
        "name": name,
        "datasource": _SOURCE,
        "query": {"query": f"label_values(edgekit_reports_total, {name})", "refId": name},
        "refresh": 2,
        "includeAll": True,
        "allValue": ".*",
        "multi": True,
        "current": {"text": "All", "value": "$__all"},
    }
