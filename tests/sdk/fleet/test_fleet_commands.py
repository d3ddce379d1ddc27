"""`edgekit fleet watch` and `edgekit fleet broker`, as processes, and what they print."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from edgekit.fleet import Fleet, FleetClient
from edgekit.fleet._brokers import Broker, free_port
from edgekit.fleet._render import table, to_json
from edgekit_agent.protocol import Event, Report, State

MakeReport = Callable[..., Report]
Start = Callable[..., "subprocess.Popen[str]"]
BASE = "ek/1/default/dev-one"
EDGEKIT = [sys.executable, "-m", "edgekit.cli.main"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Start `edgekit ...` in a session of its own; it is ended with the test."""
    running: list[subprocess.Popen[str]] = []

    def run(*arguments: str) -> "subprocess.Popen[str]":
        process = subprocess.Popen(
            [*EDGEKIT, *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONUNBUFFERED": "1"},
        )
        running.append(process)
        return process

    yield run
    for process in running:
        process.terminate()
        process.communicate(timeout=20)


def _publish_until(process: "subprocess.Popen[str]", url: str, messages: Callable[[int], dict[str, bytes]]) -> str:
    """Send new messages until the process ends by itself, and return what it printed."""
    end = time.monotonic() + 30
    with FleetClient(url) as client:
        for number in range(10_000):
            for topic, payload in messages(number).items():
                client.publish(topic, payload)
            try:
                output, errors = process.communicate(timeout=0.1)
            except subprocess.TimeoutExpired:
                assert time.monotonic() < end, "it did not end"
                continue
            assert process.returncode == 0, errors
            return output
    raise AssertionError


def _children(pid: int) -> list[int]:
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[1]) == pid and fields[0] != "Z":
            found.append(int(folder.name))
    return found


def _first_line(process: "subprocess.Popen[str]") -> dict[str, Any]:
    assert process.stdout is not None
    document: dict[str, Any] = json.loads(process.stdout.readline())
    return document


# --- watch


@pytest.mark.slow
def test_watch_json_prints_a_line_a_report_and_ends_after_count(
    broker: Broker, make_report: MakeReport, start: Start
) -> None:
    def messages(number: int) -> dict[str, bytes]:
        event = Event(ts_ms=5, level="error", code="worker-crashed", text="died", model="kws", detail={"signal": 11})
        other = make_report(seq=number).to_bytes()
        report = make_report(seq=number, statistics={"labelled": 3}).to_bytes()
        return {f"{BASE}/event": event.to_bytes(), f"{BASE}/tele": report, "ek/1/default/dev-two/tele": other}

    watch = start("fleet", "watch", "--broker", broker.url, "--json", "--count", "3", "--device", "dev-one")
    lines = [json.loads(line) for line in _publish_until(watch, broker.url, messages).splitlines()]
    reports = [line for line in lines if "event" not in line]
    assert len(reports) == 3
    assert {line["device"] for line in lines} == {"dev-one"}
    one = reports[0]
    assert one["schema"] == 1
    assert (one["model"], one["version"], one["runtime"]) == ("kws", "1.2.0", "tflite-runtime 2.14.0")
    assert (one["inferences"], one["rate_hz"], one["window_s"], one["stat"]) == (2, 2.0, 1.0, {"labelled": 3})
    assert one["p50_ms"] == pytest.approx(1.0, rel=0.022)
    assert one["p99_ms"] == pytest.approx(2.0, rel=0.022)
    assert one["mean_ms"] == pytest.approx(1.5)
    assert one["latency"]["e2e"]["p50_ms"] == one["p50_ms"]
    assert one["latency"]["pre"]["p50_ms"] is None
    event = next(line for line in lines if "event" in line)
    assert (event["event"], event["level"], event["detail"]) == ("worker-crashed", "error", {"signal": 11})


@pytest.mark.slow
def test_watch_ends_after_its_time_without_any_device(broker: Broker, start: Start) -> None:
    watch = start("fleet", "watch", "--broker", broker.url, "--for", "1")
    output, _ = watch.communicate(timeout=30)
    assert watch.returncode == 0
    assert "no reports yet" in output


@pytest.mark.slow
def test_watch_without_a_terminal_prints_plain_tables(broker: Broker, make_report: MakeReport, start: Start) -> None:
    watch = start("fleet", "watch", "--broker", broker.url, "--count", "5")
    output = _publish_until(watch, broker.url, lambda seq: {f"{BASE}/tele": make_report(seq=seq).to_bytes()})
    assert "\x1b" not in output
    for word in ("dev-one", "kws", "1.2.0", "tflite-runtime 2.14.0", "p99 ms", broker.url):
        assert word in output


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)], ids=["ctrl-c", "term", "hup"]
)
def test_watch_ends_cleanly_by_signal(broker: Broker, start: Start, number: int, code: int) -> None:
    watch = start("fleet", "watch", "--broker", broker.url, "--json")
    with FleetClient(broker.url) as client:
        event = Event(ts_ms=1, level="info", code="agent-started", text="started")
        for _ in range(100):  # until it listens
            client.publish(f"{BASE}/event", event.to_bytes())
            time.sleep(0.05)
            if _connected(watch.pid):
                break
    watch.send_signal(number)
    _, errors = watch.communicate(timeout=20)
    assert watch.returncode == code
    assert "Traceback" not in errors


def _connected(pid: int) -> bool:
    """Whether the process has started its listening thread."""
    return len(list(Path(f"/proc/{pid}/task").iterdir())) > 1


@pytest.mark.slow
def test_an_unreachable_broker_is_one_sentence_and_code_5(start: Start) -> None:
    watch = start("fleet", "watch", "--broker", "mqtt://127.0.0.1:1")
    output, errors = watch.communicate(timeout=30)
    assert (watch.returncode, output) == (5, "")
    assert errors == "error: broker mqtt://127.0.0.1:1 did not answer: Connection refused\n"


@pytest.mark.slow
@pytest.mark.parametrize(
    "arguments",
    [["--broker", "http://x"], ["--site", "#"], ["--ca", "x.pem"], ["--count", "0"]],
    ids=["url", "site", "ca-without-tls", "count"],
)
def test_wrong_options_are_code_2(start: Start, arguments: list[str]) -> None:
    watch = start("fleet", "watch", *arguments)
    _, errors = watch.communicate(timeout=30)
    assert watch.returncode == 2
    assert "Traceback" not in errors


# --- broker


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 0), (signal.SIGHUP, 0)], ids=["ctrl-c", "term", "hup"]
)
def test_broker_ends_by_signal_and_leaves_no_child(start: Start, engine: str, number: int, code: int) -> None:
    run = start("fleet", "broker", "--port", "0", "--engine", engine, "--json")
    line = _first_line(run)
    assert line["engine"] == engine
    children = _children(run.pid)
    assert len(children) == 1
    with FleetClient(line["url"]):
        pass
    run.send_signal(number)
    output, errors = run.communicate(timeout=20)
    assert (run.returncode, output) == (code, "")
    assert "Traceback" not in errors
    assert not Path(f"/proc/{children[0]}").exists()


@pytest.mark.slow
def test_a_broker_that_dies_under_it_is_code_5(start: Start, engine: str) -> None:
    run = start("fleet", "broker", "--port", "0", "--engine", engine, "--json")
    line = _first_line(run)
    os.kill(_children(run.pid)[0], signal.SIGKILL)
    _, errors = run.communicate(timeout=20)
    assert run.returncode == 5
    assert errors.startswith(f"error: the broker {line['url']} ended by itself")


@pytest.mark.slow
def test_broker_says_where_it_is_and_that_it_is_no_security_boundary(start: Start) -> None:
    port = free_port()
    run = start("fleet", "broker", "--port", str(port))
    assert run.stdout is not None
    line = run.stdout.readline()
    assert f"mqtt://127.0.0.1:{port}" in line
    assert "no access control" in line
    second = start("fleet", "broker", "--port", str(port))
    _, errors = second.communicate(timeout=30)
    assert second.returncode == 5
    assert errors.startswith(f"error: port {port} on 127.0.0.1 cannot be had: Address already in use\nhint: ")


# --- what is drawn


def _drawn(fleet: Fleet, now: float, width: int, **chosen: Any) -> str:
    console = Console(width=width, no_color=True)
    with console.capture() as captured:
        options = {"devices": set(), "model": None, **chosen}
        console.print(table(fleet, "mqtt://h:1883", now, width=width, **options))
    return captured.get()


def test_a_lost_and_a_silent_device_are_marked(make_report: MakeReport) -> None:
    fleet = Fleet()
    for name, state in (("dev-one", "online"), ("dev-two", "offline"), ("dev-three", "online")):
        fleet.feed(f"ek/1/default/{name}/state", State(state=state, heartbeat_s=10.0).to_bytes(), 0.0)
        fleet.feed(f"ek/1/default/{name}/tele", make_report().to_bytes(), 0.0)
    fleet.feed(f"{BASE}/state", State(state="online", heartbeat_s=10.0).to_bytes(), 31.0)
    drawn = {line.split()[0]: line for line in _drawn(fleet, 31.0, 120).splitlines()}
    assert drawn["dev-one"].rstrip().endswith(" 31 s")
    assert "offline" not in drawn["dev-one"]
    assert "stale" not in drawn["dev-one"]
    assert "offline 31 s" in drawn["dev-two"]
    assert "offline 31 s" in drawn["dev-three"]


@pytest.mark.parametrize("width", [80, 120])
def test_the_table_fits_its_terminal(make_report: MakeReport, width: int) -> None:
    fleet = Fleet()
    for number in range(3):
        report = make_report(model="keyword-spotting", seq=number, errors={"inference-failed": number})
        fleet.feed(f"ek/1/plant-a/raspberry-pi-number-{number}/tele", report.to_bytes(), 0.0)
    drawn = _drawn(fleet, 1.0, width).splitlines()
    assert len(drawn) == 1 + 3 + 1
    assert max(map(len, drawn)) <= width
    for heading in ("device", "model", "rate/s", "p50 ms", "p90 ms", "p99 ms", "errors", "seen"):
        assert heading in drawn[0]


def test_only_the_devices_and_models_asked_for_are_drawn(make_report: MakeReport) -> None:
    fleet = Fleet()
    for seq, (device, model) in enumerate((("dev-one", "kws"), ("dev-one", "vad"), ("dev-two", "kws"))):
        fleet.feed(f"ek/1/default/{device}/tele", make_report(model=model, seq=seq).to_bytes(), 0.0)
    drawn = _drawn(fleet, 0.0, 120, devices={"dev-one"}, model={"kws"})
    assert "dev-one" in drawn
    assert "vad" not in drawn
    assert "dev-two" not in drawn


def test_a_device_cannot_steer_the_terminal(make_report: MakeReport) -> None:
    fleet = Fleet()
    evil = "\x1b]0;owned\x07\x1b[2J[red]x\r\n\u202e"
    report = make_report(model=evil, version=evil, runtime=evil)
    event = Event(ts_ms=2**62, level="error", code=evil, text=evil, model=evil, detail={"text": evil})
    fleet.feed(f"{BASE}/tele", report.to_bytes(), 0.0)
    fleet.feed(f"{BASE}/event", event.to_bytes(), 0.0)
    drawn = _drawn(fleet, 0.0, 300)
    assert not {"\x1b", "\x07", "\r", "\u202e"} & set(drawn)
    assert len(drawn.splitlines()) == 1 + 1 + 1 + 1


def test_events_are_drawn_with_their_sentences() -> None:
    fleet = Fleet()
    event = Event(ts_ms=0, level="error", code="worker-crashed", text="x", model="kws", detail={"signal": "SIGSEGV"})
    fleet.feed(f"{BASE}/event", event.to_bytes(), 0.0)
    drawn = _drawn(fleet, 0.0, 120)
    assert "dev-one kws: The process running the model died. (signal SIGSEGV)" in drawn


def test_a_state_is_no_json_line() -> None:
    received = Fleet().feed(f"{BASE}/state", State(state="online").to_bytes(), 0.0)
    assert received is not None
    assert to_json(received) is None
