"""What a report says in a few figures, as bridges tell it: names and units in one table."""

from collections.abc import Mapping
from types import MappingProxyType

from edgekit.fleet.store import ReportRow

QUANTILES: Mapping[str, float] = MappingProxyType({"p50": 0.5, "p90": 0.9, "p99": 0.99})
GAUGES: Mapping[str, str] = MappingProxyType(
    {"cpu": "cpu_percent", "rss": "memory_bytes", "temp": "temperature_c", "thr": "throttled", "freq": "frequency_mhz"}
    | {"pow": "power_w", "depth": "queue"}
)


def figures(row: ReportRow, stages: tuple[str, ...] = ("infer", "e2e")) -> dict[str, float | int]:
    """Return the figures that the report has: counts, rate, quantiles of stages in ms, gauges."""
    told: dict[str, float | int] = {
        "inferences": row.inferences,
        "errors": row.errors,
        "dropped": row.dropped,
        "rate_hz": round(row.inferences / row.window_s, 3) if row.window_s > 0 else 0.0,
    }
    for stage in stages:
        if stage in row.latency:
            told |= {
                f"{stage}_{name}_ms": round(1000 * row.latency[stage].quantile(q), 4) for name, q in QUANTILES.items()
            }
    told |= {GAUGES[name]: value for name, value in row.gauges.items()}
    return told
