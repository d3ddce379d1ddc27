"""`/metrics`, read by protobuf's own code, as text, and by Prometheus itself."""

import json
import math
import shutil
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import insert

from edgekit.fleet._brokers import free_port
from edgekit.fleet.export.metrics import METRICS, Snapshot
from edgekit.fleet.export.prometheus import OCTAVES, _classic, native_histogram, to_protobuf, to_text, wants_protobuf
from edgekit.fleet.store import DeviceKey, Store
from edgekit.fleet.store.tables import ROLLOUT_JOBS, ROLLOUTS
from edgekit_agent.protocol import ExpHistogram
from tests.sdk.fleet.export.conftest import TOKEN
from tests.sdk.fleet.export.described import CLIENT_MODEL, messages

MODEL = messages("io.prometheus.client", CLIENT_MODEL)
PROMETHEUS_ACCEPT = (
    "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.7,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.1"
)
_VALUES = st.lists(st.one_of(st.just(0.0), st.floats(1e-9, 1e6)), max_size=60)


@settings(deadline=None, max_examples=60)
@given(_VALUES, st.integers(-4, 8))
def test_a_native_histogram_is_a_copy_of_ours(values: list[float], scale: int) -> None:
    ours = ExpHistogram.of(values, scale)
    theirs = MODEL["Histogram"].FromString(native_histogram(ours))
    counts, index, value, deltas = {}, 0, 0, iter(theirs.positive_delta)
    for span in theirs.positive_span:
        index += span.offset
        for _ in range(span.length):
            value += next(deltas)
            if value:
                counts[index - 1] = value  # theirs is named by its end
            index += 1
    assert (theirs.schema, theirs.sample_count, theirs.zero_count) == (scale, len(values), ours.zeros)
    assert counts == ours.counts
    assert math.isclose(theirs.sample_sum, sum(values), rel_tol=1e-9)
    assert list(deltas) == []
    assert theirs.positive_span  # also when it is empty: else it would be taken for a classic one


@settings(deadline=None, max_examples=60)
@given(_VALUES, st.integers(0, 8))
def test_classic_buckets_count_exactly_what_lies_below_their_end(values: list[float], scale: int) -> None:
    lines = _classic("x", (), ExpHistogram.of(values, scale))
    for octave, line in zip(OCTAVES, lines, strict=False):
        end = 2.0**octave
        assert line == f'x_bucket{{le="{end!r}"}} {sum(value <= end for value in values)}'
    assert lines[-3:-2] == [f'x_bucket{{le="+Inf"}} {len(values)}']
    assert lines[-1] == f"x_count {len(values)}"


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (PROMETHEUS_ACCEPT, True),
        ("", False),
        ("text/plain", False),
        ("application/vnd.google.protobuf", False),
        (PROMETHEUS_ACCEPT.replace("q=0.7", "q=0"), False),
        (PROMETHEUS_ACCEPT.replace("q=0.7", "q=0.2"), False),
        (PROMETHEUS_ACCEPT.replace("q=0.7", "q=x"), False),
    ],
)
def test_the_form_is_what_the_scraper_prefers(accept: str, wanted: bool) -> None:
    assert wants_protobuf(accept) is wanted


def _families(body: bytes) -> dict[str, Any]:
    found, at = {}, 0
    while at < len(body):
        length = shift = 0
        while True:
            byte = body[at]
            at += 1
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        family = MODEL["MetricFamily"].FromString(body[at : at + length])
        found[family.name] = family
        at += length
    return found


def test_both_forms_tell_the_same(store: Store, fill: Callable[..., None], known: Callable[..., DeviceKey]) -> None:
    known(board='Pi "5"')
    known("dev-2", presence="offline")
    fill(seq=1, values=(0.001, 0.003), temperature_c=41.5)
    with store.engine.begin() as connection:
        for name, ended_ms in (("r1", 5), ("r2", None)):
            blank = dict.fromkeys(
                ("model", "version", "filter", "plan", "reason", "step", "created_by", "findings"), ""
            )
            whole = dict.fromkeys(("rev", "wave", "since_ms", "created_ms"), 0)
            status = "running" if ended_ms is None else "completed"
            connection.execute(insert(ROLLOUTS).values(id=name, status=status, ended_ms=ended_ms, **blank, **whole))
            job: dict[str, Any] = dict.fromkeys(("wave", "position", "since_ms", "v", "tries"), 0)
            job |= {"rollout": name, "site": "default", "device": "dev-1", "status": "told", "reason": ""}
            connection.execute(insert(ROLLOUT_JOBS).values(**job))
    store.counters.add("ingest", {"received": 2, "stored": 1})
    store.totals.roll_all()
    snapshot = Snapshot.of(store)
    families = _families(b"".join(to_protobuf(snapshot)))
    text = b"".join(to_text(snapshot)).decode()
    assert list(families) == [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert set(families) <= {metric.name for metric in METRICS}
    labels = 'site="default",hardware="Pi \\"5\\"",model="kws",version="1.2.0"'
    assert f"edgekit_inferences_total{{{labels}}} 2" in text
    assert f'edgekit_temperature_celsius{{{labels},of="most"}} 41.5' in text
    assert f'edgekit_latency_seconds_bucket{{{labels},stage="infer",le="0.001953125"}} 1' in text
    assert 'edgekit_devices{site="default",presence="offline",reason="birth"} 1' in text
    assert 'edgekit_ingest_messages_total{source="ingest",outcome="received"} 2' in text
    assert 'edgekit_rollouts{status="completed"} 1' in text
    assert 'edgekit_rollout_devices{status="told"} 1' in text
    assert families["edgekit_inferences_total"].metric[0].counter.value == 2
    assert families["edgekit_devices"].metric[0].gauge.value == 1
    infer = families["edgekit_latency_seconds"].metric[0]
    assert {pair.name: pair.value for pair in infer.label}["hardware"] == 'Pi "5"'
    assert infer.histogram.sample_count == 2


def test_the_route_needs_a_token_and_answers_in_the_form_asked_for(
    served: str, store: Store, fill: Callable[..., None]
) -> None:
    fill(seq=1)
    store.totals.roll_all()

    def get(**headers: str) -> Any:
        return urllib.request.urlopen(urllib.request.Request(f"http://{served}/metrics", headers=headers))

    with pytest.raises(urllib.error.HTTPError, match="401"):
        get()
    bearer = {"Authorization": f"Bearer {TOKEN}"}
    with get(**bearer) as plain, get(**bearer, Accept=PROMETHEUS_ACCEPT) as binary:
        assert plain.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
        assert b"# TYPE edgekit_latency_seconds histogram" in plain.read()
        assert "encoding=delimited" in binary.headers["content-type"]
        assert _families(binary.read())["edgekit_latency_seconds"].type == 4


# --- Prometheus itself


@pytest.fixture
def prometheus(served: str, tmp_path: Path) -> Iterator[str]:
    """Prometheus that scrapes the service every second; its address."""
    found = shutil.which("prometheus")
    if found is None:
        pytest.skip("needs Prometheus: apt-get install prometheus")
    token = tmp_path / "token"
    token.write_text(TOKEN)
    token.chmod(0o600)
    # from 3.8 on it is asked for in the configuration, which older ones refuse
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    major, minor = (int(part) for part in (version.stdout + version.stderr).split("version ")[1].split(".")[:2])
    native = "  scrape_native_histograms: true\n" if (major, minor) >= (3, 8) else ""
    (tmp_path / "prometheus.yml").write_text(
        f"scrape_configs:\n- job_name: edgekit\n  scrape_interval: 1s\n{native}"
        f"  authorization: {{credentials_file: {token}}}\n  static_configs: [{{targets: ['{served}']}}]\n"
    )
    address = f"127.0.0.1:{free_port()}"
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            [
                found, f"--config.file={tmp_path}/prometheus.yml", f"--storage.tsdb.path={tmp_path}/data",
                f"--web.listen-address={address}", "--enable-feature=native-histograms",
            ],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield address
        finally:
            process.terminate()
            process.wait(20)


def _ask(address: str, query: str, *, done: Callable[[list[Any]], bool] = bool) -> list[Any]:
    """Ask until the answer is `done`, for as long as a busy machine may take."""
    result: list[Any] = []
    for _ in range(600):
        try:
            quoted = urllib.parse.urlencode({"query": query})
            with urllib.request.urlopen(f"http://{address}/api/v1/query?{quoted}") as answer:
                result = json.load(answer)["data"]["result"]
        except OSError:
            pass
        if done(result):
            return result
        time.sleep(0.1)
    raise AssertionError(f"{query}: {result}")


@pytest.mark.slow
def test_prometheus_reads_native_histograms_and_agrees_on_quantiles(
    store: Store, fill: Callable[..., None], prometheus: str, known: Callable[..., DeviceKey], rng: Any
) -> None:
    known("dev-1")
    known("dev-2", board="Jetson")
    values = {device: rng.lognormal(-4.0 + at, 0.6, 400) for at, device in enumerate(("dev-1", "dev-2"))}
    for device, some in values.items():
        for seq, part in enumerate((some[:200], some[200:])):
            fill(device, seq=seq + 1, values=tuple(part.tolist()))
    store.totals.roll_all()
    name = 'edgekit_latency_seconds{stage="infer"}'
    for q in (0.5, 0.9, 0.99):
        (one,) = _ask(prometheus, f"histogram_quantile({q}, sum({name}))", done=lambda found: len(found) == 1)
        everything = ExpHistogram.of([value for some in values.values() for value in some.tolist()], 4)
        exact = sorted(value for some in values.values() for value in some.tolist())[math.ceil(q * 800) - 1]
        # both lie in the bucket of the exact value: a bucket of scale 4 is 4.4 % wide
        assert float(one["value"][1]) == pytest.approx(everything.quantile(q), rel=2 ** (1 / 16) - 1)
        assert float(one["value"][1]) == pytest.approx(exact, rel=2 ** (1 / 16) - 1)
    by_hardware = _ask(prometheus, f"histogram_count(sum by (hardware) ({name}))", done=lambda found: len(found) == 2)
    assert {one["metric"]["hardware"]: one["value"][1] for one in by_hardware} == {
        "Raspberry Pi 5": "400",
        "Jetson": "400",
    }
    (total,) = _ask(prometheus, f"histogram_sum(sum({name}))")
    assert float(total["value"][1]) == pytest.approx(sum(float(some.sum()) for some in values.values()))
    fill("dev-1", seq=3, values=(0.5,) * 100)
    store.totals.roll_all()
    _ask(prometheus, f"histogram_count(sum({name}))", done=lambda found: bool(found) and found[0]["value"][1] == "900")
    (share,) = _ask(prometheus, f"histogram_fraction(0.4788, 0.5, {name}) * histogram_count({name}) > 50")
    assert float(share["value"][1]) == pytest.approx(100, abs=1)  # (2**-17/16, 0.5] is where 0.5 is counted
    assert _ask(prometheus, 'edgekit_devices{presence="online"}')[0]["value"][1] == "2"
