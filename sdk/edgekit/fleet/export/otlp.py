"""Metrics pushed by OTLP over HTTP in its JSON form: exponential histograms as they are, nothing converted.

Cumulative points are the totals of the store: one that does not arrive is made up for by the next. Delta points are
made of the reports since the last push that was taken; until it is taken the same points are sent again, over a
restart too. What waits stands in the store, not in memory. Source: OTLP 1.x, "OTLP/HTTP", and the metrics data model.
"""

import gzip
import json
import logging
import threading
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from edgekit.errors import DeviceError, UsageError
from edgekit.fleet import _clock
from edgekit.fleet.export.deltas import Delta, take_delta
from edgekit.fleet.store.totals import TotalRow
from edgekit_agent import __version__
from edgekit_agent.protocol import ExpHistogram

if TYPE_CHECKING:
    from edgekit.fleet.store import Store

_log = logging.getLogger(__name__)

NAME = "bridge-otlp"
TIMEOUT_S = 10.0
ANSWER_BYTES = 64 * 1024
POINTS_A_PUSH = 2_000
FIRST_WAIT_S, LONGEST_WAIT_S = 1.0, 60.0
AGAIN = frozenset({408, 429, 502, 503, 504})
DELTA, CUMULATIVE = 1, 2
_COUNTS = (
    ("edgekit.inferences", "inferences", "{inference}"),
    ("edgekit.inference.errors", "errors", "{inference}"),
    ("edgekit.inference.dropped", "dropped", "{input}"),
    ("edgekit.reports", "reports", "{report}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class OtlpSettings:
    """Where to and how; `headers` hold secrets and are never shown."""

    endpoint: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    delta: bool = False
    every_s: float = 15.0
    ca: str | None = None


class RefusedError(DeviceError):
    """The collector took it for wrong: sending it again is of no use."""


class OtlpPusher:
    """Pushes the store's totals, or what came since the last push."""

    def __init__(self, store: "Store", settings: OtlpSettings) -> None:
        """Read the store.

        Raises:
            UsageError: if the endpoint is no http or https URL.
        """
        if not settings.endpoint.startswith(("http://", "https://")) or "@" in settings.endpoint:
            raise UsageError("an OTLP endpoint is http://host[:port][/path] or https://…; secrets go into headers")
        self._store, self._settings = store, settings
        path = "" if settings.endpoint.rstrip("/").endswith("/v1/metrics") else "/v1/metrics"
        self._url = settings.endpoint.rstrip("/") + path
        self._mark = f"otlp:{self._url}"
        self.counted: Counter[str] = Counter()

    def run(self, stop: threading.Event) -> None:
        """Push until `stop` is set; a collector that is away is tried again, with longer and longer waits."""
        wait_s = FIRST_WAIT_S
        while not stop.is_set():
            try:
                full = self.push()
                wait_s = FIRST_WAIT_S
                stop.wait(0.0 if full else self._settings.every_s)
            except DeviceError as exc:
                self.counted["retries"] += 1
                _log.warning("otlp=%s wait_s=%g: %s", self._url, wait_s, exc)
                stop.wait(max(wait_s, getattr(exc, "retry_after_s", 0.0)))
                wait_s = min(LONGEST_WAIT_S, 2 * wait_s)
            finally:
                self._keep()

    def push(self) -> bool:
        """Push once; return whether there is more at once.

        Raises:
            DeviceError: if the collector is not there or has no room: nothing is lost, push again.
        """
        if not self._settings.delta:
            now_ms = _clock.now_ms()
            rows = self._store.totals.rows()
            for begin in range(0, len(rows), POINTS_A_PUSH):
                self._send(_document(rows[begin : begin + POINTS_A_PUSH], now_ms, CUMULATIVE))
            return False
        delta = take_delta(self._store, self._mark)
        if delta.rows:
            self._send(_document(delta.rows, delta.end_ms, DELTA))
        self.counted["lost"] += delta.lost
        self._store.marks.put(self._mark, delta.mark)
        return delta.full

    def _send(self, body: Mapping[str, Any]) -> None:
        try:
            self._post(gzip.compress(json.dumps(body, separators=(",", ":")).encode(), 6), _points(body))
        except RefusedError as exc:
            self.counted["refused"] += _points(body)
            _log.error("otlp=%s points are refused and not sent again: %s", self._url, exc)

    def _post(self, data: bytes, points: int) -> None:
        import urllib3

        headers = {"Content-Type": "application/json", "Content-Encoding": "gzip", **self._settings.headers}
        headers["User-Agent"] = f"edgekit/{__version__}"
        try:
            with urllib3.PoolManager(timeout=TIMEOUT_S, retries=False, ca_certs=self._settings.ca) as pool:
                answer = pool.request(
                    "POST", self._url, body=data, headers=headers, redirect=False, preload_content=False
                )
                text = answer.read(ANSWER_BYTES)
                answer.release_conn()
        except (urllib3.exceptions.HTTPError, OSError) as exc:
            raise DeviceError(f"the collector does not answer: {type(exc).__name__}") from exc
        if answer.status in AGAIN:
            error = DeviceError(f"the collector answered {answer.status}")
            error.retry_after_s = _seconds(answer.headers.get("Retry-After"))  # type: ignore[attr-defined]
            raise error
        if not 200 <= answer.status < 300:  # noqa: PLR2004  # HTTP's success
            raise RefusedError(f"the collector answered {answer.status}")
        rejected = _rejected(text)
        self.counted["refused"] += rejected
        self.counted["pushed"] += points - rejected

    def _keep(self) -> None:
        if self.counted:
            self._store.counters.add(NAME, self.counted)
            self.counted.clear()


def _rejected(answer: bytes) -> int:
    """Return how many points a collector did not take of a push that it took."""
    try:
        partial = json.loads(answer or b"{}").get("partialSuccess") or {}
        rejected = int(partial.get("rejectedDataPoints", 0))
    except (ValueError, AttributeError, TypeError, RecursionError):
        return 0
    if rejected:
        _log.warning("the collector refused %d points: %.200s", rejected, partial.get("errorMessage", ""))
    return max(0, rejected)


def _seconds(text: str | None) -> float:
    return min(LONGEST_WAIT_S, float(text)) if text and text.isdigit() else 0.0


def _points(body: Mapping[str, Any]) -> int:
    metrics = body["resourceMetrics"][0]["scopeMetrics"][0]["metrics"]
    return sum(len((one.get("exponentialHistogram") or one.get("sum"))["dataPoints"]) for one in metrics)


# --- OTLP's JSON form: numbers of 64 bits are texts, enums are numbers


def _document(rows: Iterable["TotalRow | Delta"], end_ms: int, temporality: int) -> dict[str, Any]:
    told = list(rows)
    histograms = [_histogram(row, stage, histogram, end_ms) for row in told for stage, histogram in row.latency.items()]
    latency = {"aggregationTemporality": temporality, "dataPoints": histograms}
    metrics: list[dict[str, Any]] = [
        {
            "name": "edgekit.latency",
            "description": "Time of each stage of an inference.",
            "unit": "s",
            "exponentialHistogram": latency,
        }
    ]
    for name, attribute, unit in _COUNTS:
        points = [{**_head(row, end_ms), "asInt": str(getattr(row, attribute))} for row in told]
        total = {"aggregationTemporality": temporality, "isMonotonic": True, "dataPoints": points}
        metrics.append({"name": name, "unit": unit, "sum": total})
    resource = {"attributes": _attributes({"service.name": "edgekit-fleet", "service.version": __version__})}
    scope = {"scope": {"name": "edgekit.fleet", "version": __version__}, "metrics": metrics}
    return {"resourceMetrics": [{"resource": resource, "scopeMetrics": [scope]}]}


def _histogram(row: "TotalRow | Delta", stage: str, histogram: ExpHistogram, end_ms: int) -> dict[str, Any]:
    body = {
        **_head(row, end_ms, stage=stage),
        "count": str(histogram.count),
        "sum": histogram.total,
        "scale": histogram.scale,
        "zeroCount": str(histogram.zeros),
        "min": histogram.minimum,
        "max": histogram.maximum,
    }
    if histogram.counts:
        low, high = min(histogram.counts), max(histogram.counts)
        counts = [str(histogram.counts.get(index, 0)) for index in range(low, high + 1)]
        body["positive"] = {"offset": low, "bucketCounts": counts}
    return body


def _head(row: "TotalRow | Delta", end_ms: int, **more: str) -> dict[str, Any]:
    group = {name: value for name, value in row.group._asdict().items() if value}
    return {
        "attributes": _attributes({f"edgekit.{name}": value for name, value in {**group, **more}.items()}),
        "startTimeUnixNano": str(row.first_ms * 1_000_000),
        "timeUnixNano": str(max(end_ms, row.first_ms) * 1_000_000),
    }


def _attributes(values: Mapping[str, str]) -> list[dict[str, Any]]:
    return [{"key": key, "value": {"stringValue": value}} for key, value in values.items()]
