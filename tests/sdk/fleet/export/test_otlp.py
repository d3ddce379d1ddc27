"""OTLP over HTTP, to a real server on this machine."""

import gzip
import http.server
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from google.protobuf import json_format

from edgekit.errors import DataError, DeviceError, UsageError
from edgekit.fleet.export import otlp
from edgekit.fleet.export.otlp import OtlpPusher, OtlpSettings
from edgekit.fleet.export.secret_headers import from_environment, from_file
from edgekit.fleet.store import DeviceKey, Store
from edgekit_agent.errors import ConfigError
from edgekit_agent.protocol import ExpHistogram
from tests.sdk.fleet.export.described import OTLP, messages

REQUEST = messages("opentelemetry", OTLP)["ExportMetricsServiceRequest"]
Fill = Callable[..., None]


class Collector:
    """Takes what is pushed; answers what it is told to, 200 otherwise."""

    def __init__(self) -> None:
        """Begin with nothing."""
        self.taken: list[Any] = []
        self.headers: list[dict[str, str]] = []
        self.answers: list[tuple[int, dict[str, str], bytes]] = []
        self.url = ""

    def points(self, name: str = "edgekit.latency") -> list[list[Any]]:
        """The points of a metric, by push."""
        found = []
        for request in self.taken:
            (metric,) = [one for one in request.resource_metrics[0].scope_metrics[0].metrics if one.name == name]
            found.append(
                list(
                    (
                        metric.exponential_histogram if metric.HasField("exponential_histogram") else metric.sum
                    ).data_points
                )
            )
        return found


@pytest.fixture
def collector() -> Iterator[Collector]:
    told = Collector()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # the library's name
            body = gzip.decompress(self.rfile.read(int(self.headers["Content-Length"])))
            told.headers.append({"path": self.path, **dict(self.headers)})
            status, headers, text = told.answers.pop(0) if told.answers else (200, {}, b"{}")
            if status == 200:
                # strict: a wrong name or type of OTLP's JSON form is an error
                told.taken.append(json_format.Parse(body, REQUEST()))
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(text))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: object) -> None: ...

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        told.url = f"http://127.0.0.1:{server.server_address[1]}"
        yield told
        server.shutdown()
        thread.join(10)


def _read(point: Any) -> ExpHistogram:
    found = ExpHistogram(point.scale)
    counts = {point.positive.offset + at: count for at, count in enumerate(point.positive.bucket_counts) if count}
    found.add_counts(counts, zeros=point.zero_count, total=point.sum, minimum=point.min, maximum=point.max)
    assert found.count == point.count
    return found


def _attributes(point: Any) -> dict[str, str]:
    return {one.key: one.value.string_value for one in point.attributes}


def test_cumulative_points_are_the_totals(
    store: Store, fill: Fill, known: Callable[..., DeviceKey], collector: Collector
) -> None:
    known()
    pusher = OtlpPusher(store, OtlpSettings(endpoint=collector.url, headers={"X-Key": "secret"}))
    for seq, value in ((1, 0.01), (2, 0.0)):
        fill(seq=seq, values=(value, 0.02))
        store.totals.roll_all()
        assert pusher.push() is False
    assert (collector.headers[0]["path"], collector.headers[0]["X-Key"]) == ("/v1/metrics", "secret")
    first, second = collector.points()
    (infer,) = [one for one in second if _attributes(one)["edgekit.stage"] == "infer"]
    assert _read(infer) == ExpHistogram.of((0.01, 0.02, 0.0, 0.02), 4)
    assert _attributes(infer)["edgekit.hardware"] == "Raspberry Pi 5"
    assert "edgekit.device" not in _attributes(infer)
    assert infer.start_time_unix_nano == first[0].start_time_unix_nano < infer.time_unix_nano
    assert [points[0].as_int for points in collector.points("edgekit.inferences")] == [2, 4]


def test_deltas_add_up_to_everything_whatever_fails_on_the_way(
    store: Store, fill: Fill, known: Callable[..., DeviceKey], collector: Collector
) -> None:
    known()
    fill(seq=1, values=(1.0,))  # before it began: not told

    def push() -> None:
        OtlpPusher(store, OtlpSettings(endpoint=collector.url, delta=True)).push()  # a new one, as after a restart

    push()
    fill(seq=2, values=(0.01,))
    collector.answers = [(503, {"Retry-After": "7"}, b""), (429, {}, b"")]
    for wait_s in (7.0, 0.0):
        with pytest.raises(DeviceError, match="answered") as caught:
            push()
        assert caught.value.retry_after_s == wait_s  # type: ignore[attr-defined]
    fill(seq=3, values=(0.02,))
    push()
    push()  # nothing new: nothing sent
    fill(seq=4, values=(0.03,))
    push()
    infer = [one for points in collector.points() for one in points if _attributes(one)["edgekit.stage"] == "infer"]
    merged = ExpHistogram(4)
    for point in infer:
        merged.merge(_read(point))
    assert merged == ExpHistogram.of((0.01, 0.02, 0.03), 4)
    assert len(collector.taken) == 2
    assert infer[0].time_unix_nano <= infer[1].start_time_unix_nano  # they do not overlap


def test_what_the_collector_refuses_is_counted_and_not_sent_again(
    store: Store, fill: Fill, collector: Collector
) -> None:
    fill(seq=1)
    store.totals.roll_all()
    pusher = OtlpPusher(store, OtlpSettings(endpoint=f"{collector.url}/v1/metrics"))
    collector.answers = [(400, {}, b"no"), (200, {}, b'{"partialSuccess":{"rejectedDataPoints":"2"}}')]
    pusher.push()
    assert pusher.counted["refused"] == 6  # two stages and four counts
    pusher.push()
    assert (pusher.counted["refused"], pusher.counted["pushed"]) == (8, 4)


def test_it_goes_on_when_the_collector_comes_back(
    store: Store, fill: Fill, collector: Collector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(otlp, "FIRST_WAIT_S", 0.01)
    fill(seq=1)
    store.totals.roll_all()
    collector.answers = [(502, {}, b"")] * 3
    pusher, stop = OtlpPusher(store, OtlpSettings(endpoint=collector.url, every_s=0.01)), threading.Event()
    thread = threading.Thread(target=pusher.run, args=(stop,))
    thread.start()
    try:
        while len(collector.taken) < 2:
            assert thread.is_alive()
            time.sleep(0.01)
    finally:
        stop.set()
        thread.join(20)
    counters = store.counters.by_source()["bridge-otlp"]
    assert counters["retries"] == 3
    assert counters["pushed"] >= 12


def test_a_collector_that_is_away_and_a_wrong_endpoint_are_told(store: Store, fill: Fill) -> None:
    fill(seq=1)
    store.totals.roll_all()
    with pytest.raises(DeviceError, match="does not answer"):
        OtlpPusher(store, OtlpSettings(endpoint="http://127.0.0.1:9")).push()
    for endpoint in ("grpc://x", "http://user:secret@x"):
        with pytest.raises(UsageError, match="an OTLP endpoint is") as caught:
            OtlpPusher(store, OtlpSettings(endpoint=endpoint))
        assert "secret@" not in str(caught.value)
    assert "secret" not in repr(OtlpSettings(endpoint="http://x", headers={"a": "secret"}))


def test_headers_come_from_a_private_file_or_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "headers"
    file.write_text("Authorization: Bearer a:b\n\nX-Scope: one\n")
    file.chmod(0o600)
    assert from_file(file) == {"Authorization": "Bearer a:b", "X-Scope": "one"}
    file.chmod(0o644)
    with pytest.raises(ConfigError, match="everybody may read"):
        from_file(file)
    file.chmod(0o600)
    file.write_text("Bearer hunter2")
    with pytest.raises(DataError, match="is not NAME and VALUE") as caught:
        from_file(file)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_HEADERS", "api-key=a%20b,x=y")
    assert from_environment() == {"api-key": "a b", "x": "y"}
