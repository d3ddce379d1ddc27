"""`edgekit fleet serve` as a process, with a real broker."""

import contextlib
import http.client
import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import paho.mqtt.client as paho
import psutil
import pytest
from paho.mqtt.enums import CallbackAPIVersion

from edgekit.fleet._brokers import Broker, free_port, running
from edgekit.fleet.store import open_store
from edgekit_agent.protocol import Event, Info, Kind, Report, State, device_topic
from tests.sdk.fleet.postgresql import Server

pytestmark = pytest.mark.slow
WAIT_S = 90.0


def _eventually(question: Callable[[], bool]) -> None:
    end = time.monotonic() + WAIT_S
    while not question():
        assert time.monotonic() < end, "it never came to be"
        time.sleep(0.1)


def _port(broker: Broker) -> int:
    return int(broker.url.rpartition(":")[2])


def _start(folder: Path, broker: str, *options: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "serve", "--json", "--listen", "127.0.0.1:0"]
    command += ["--broker", broker, "--data", str(folder), *options]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Start the service and wait for its line; it is ended afterwards."""
    started: list[subprocess.Popen[str]] = []

    def start(broker: str, *options: str) -> subprocess.Popen[str]:
        process = _start(tmp_path / "data", broker, *options)
        started.append(process)
        assert process.stdout is not None
        document = json.loads(process.stdout.readline())
        start.page = document["url"]  # type: ignore[attr-defined]  # for who asks it
        assert (document["schema"], document["broker"]) == (1, broker)
        return process

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            process.terminate()
        process.communicate(timeout=60)


class Device:
    """A connection that hears what the host says."""

    def __init__(self, port: int) -> None:
        """Connect."""
        self.heard: dict[str, Any] = {}
        self.client = paho.Client(CallbackAPIVersion.VERSION2, "dev-1", protocol=paho.MQTTv5)
        self.client.on_connect = self._connected
        self.client.on_message = self._message
        self.client.connect("127.0.0.1", port)
        self.client.loop_start()

    def _connected(self, *_: Any) -> None:
        self.client.subscribe([("ek/1/+/$host/state", 1), ("ek/1/+/dev-1/ack", 0)])

    def _message(self, _client: Any, _data: Any, message: Any) -> None:
        self.heard[message.topic] = json.loads(message.payload)

    def say(self, kind: Kind, message: Any, *, retain: bool = False) -> None:
        """Send a message."""
        self.client.publish(device_topic("default", "dev-1", kind), message.to_bytes(), qos=1, retain=retain)

    def host(self) -> Any:
        """What the host says of itself."""
        return self.heard.get("ek/1/default/$host/state", {})

    def close(self) -> None:
        """Disconnect."""
        self.client.disconnect()
        self.client.loop_stop()


def test_it_stores_acknowledges_and_comes_back(
    url: str, serve: Callable[..., subprocess.Popen[str]], make_report: Callable[..., Report]
) -> None:
    with (
        running(engine="mosquitto") as broker,
        contextlib.closing(Device(_port(broker))) as device,
    ):
        service = serve(broker.url, "--ingest", "2", "--store", url)
        _eventually(lambda: device.host().get("st") == "online")
        device.say(Kind.STATE, State(state="online", birth=1, boot="b1", agent="1.0"), retain=True)
        info = Info(agent="1.0", hardware={"arch": "x86_64"}, runtimes={}, labels={"room": "lab"})
        device.say(Kind.INFO, info, retain=True)
        for _ in range(2):
            device.say(Kind.EVENT, Event(ts_ms=5, level="info", code="started", text="Up."))
        device.say(Kind.TELE, make_report(seq=1, ts_ms=int(time.time() * 1000)))
        ack = "ek/1/default/dev-1/ack"
        _eventually(lambda: device.heard.get(ack) == {"boot": "b1", "seq": 1})
        with open_store(url) as store:
            _eventually(lambda: len(store.events.latest()) == 1 and store.devices.all()[0].info is not None)
            row = store.devices.all()[0]
            assert (row.state, row.labels) == ("online", {"room": "lab"})
            # a child that dies is started again, and devices are asked for what was not acknowledged
            birth = device.host()["bd"]
            children = psutil.Process(service.pid).children()
            assert len(children) == 2
            children[0].kill()
            _eventually(lambda: device.host()["bd"] > birth)
            _eventually(lambda: len(psutil.Process(service.pid).children()) == 2)
            device.say(Kind.TELE, make_report(seq=2, ts_ms=int(time.time() * 1000)))
            _eventually(lambda: store.counters.total()["stored"] >= 5)
        children = psutil.Process(service.pid).children()
        service.send_signal(signal.SIGTERM)
        assert service.wait(60) == 0
        _eventually(lambda: device.host()["st"] == "offline" and device.host()["why"] == "stop")
        assert not [child for child in children if child.is_running()]


def test_one_that_is_killed_goes_on_where_it_was(
    url: str, serve: Callable[..., subprocess.Popen[str]], make_report: Callable[..., Report]
) -> None:
    ack = "ek/1/default/dev-1/ack"
    with running(engine="mosquitto") as broker, contextlib.closing(Device(_port(broker))) as device:
        for turn in (1, 2):
            device.heard.clear()
            service = serve(broker.url, "--store", url)
            _eventually(lambda: device.host().get("st") == "online")
            for seq in (1, 2, 3)[: turn + 1]:  # what was not acknowledged comes again, and what was too
                device.say(Kind.TELE, make_report(seq=seq, ts_ms=int(time.time() * 1000)))
            device.say(Kind.EVENT, Event(ts_ms=turn, level="info", code="started", text="Up."))
            _eventually(lambda turn=turn: device.heard.get(ack) == {"boot": "b1", "seq": turn + 1})  # type: ignore[misc]
            service.kill()
            service.wait()
            _eventually(lambda: device.host().get("st") == "offline")
        with open_store(url) as store:
            assert [row.seq for row in store.reports.since(0)] == [1, 2, 3]
            counted = store.counters.by_source()["ingest-0"]
            assert (counted["received"], counted["stored"], counted["duplicate"]) == (5, 3, 2)


def _asked(page: str, path: str, token: str) -> tuple[int, dict[str, Any]]:
    with contextlib.closing(http.client.HTTPConnection(page.removeprefix("http://"), timeout=30)) as connection:
        connection.request("GET", path, headers={"Authorization": f"Bearer {token}"})
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


def test_while_postgresql_is_away_it_waits_and_says_so_and_nothing_is_lost(
    tmp_path: Path,
    postgresql: Server,
    serve: Callable[..., subprocess.Popen[str]],
    make_report: Callable[..., Report],
) -> None:
    ack, numbers = "ek/1/default/dev-1/ack", iter(range(1, 100))

    def say(device: Device) -> int:
        seq = next(numbers)
        device.say(Kind.TELE, make_report(seq=seq, ts_ms=int(time.time() * 1000)))
        device.say(Kind.EVENT, Event(ts_ms=seq, level="info", code="said", text="Something."))
        device.say(Kind.STATE, State(state="online", birth=seq, boot="b1", agent=f"1.{seq}"), retain=True)
        return seq

    with (
        postgresql.database() as url,
        running(engine="mosquitto") as broker,
        contextlib.closing(Device(_port(broker))) as device,
    ):
        serve(broker.url, "--store", url, "--ingest", "2")
        token = (tmp_path / "data" / "token").read_text().strip()
        page = str(serve.page)  # type: ignore[attr-defined]  # of the fixture
        _eventually(lambda: device.host().get("st") == "online")
        told = say(device)
        _eventually(lambda: device.heard.get(ack) == {"boot": "b1", "seq": told})
        postgresql.crash()
        late = say(device)
        _eventually(lambda: _asked(page, "/healthz", token)[1]["status"] == "degraded")
        _eventually(lambda: _asked(page, "/healthz", token)[1]["parts"].get("store", {}).get("trouble") is not None)
        assert device.heard[ack]["seq"] == told
        status, refused = _asked(page, "/api/v1/devices", token)
        assert (status, refused["error"]["code"]) == (503, "store-away")
        postgresql.start()
        _eventually(lambda: device.heard.get(ack) == {"boot": "b1", "seq": late})
        _eventually(lambda: _asked(page, "/healthz", token)[1]["status"] == "ok")
        with open_store(url) as store:
            assert [row.seq for row in store.reports.since(0)] == [1, 2]
            _eventually(lambda: sorted(row.ts_ms for row in store.events.latest()) == [1, 2])
            _eventually(lambda: [(row.agent, row.presence) for row in store.devices.all()] == [("1.2", "online")])


def test_devices_learn_by_the_will_that_it_died(serve: Callable[..., subprocess.Popen[str]]) -> None:
    with (
        running(engine="mosquitto") as broker,
        contextlib.closing(Device(_port(broker))) as device,
    ):
        service = serve(broker.url)
        _eventually(lambda: device.host().get("st") == "online")
        children = psutil.Process(service.pid).children()
        service.kill()
        _eventually(lambda: device.host()["st"] == "offline")
        _eventually(lambda: not any(child.is_running() for child in children))


def test_a_broker_that_is_away_is_told_and_tried_again(
    tmp_path: Path, serve: Callable[..., subprocess.Popen[str]]
) -> None:
    port = free_port()
    service = serve(f"mqtt://127.0.0.1:{port}")
    assert service.stderr is not None
    assert f"broker mqtt://127.0.0.1:{port} did not answer" in service.stderr.readline()
    with running(port, engine="mosquitto"), contextlib.closing(Device(port)) as device:
        _eventually(lambda: device.host().get("st") == "online")
    again = _start(tmp_path / "data", "mqtt://127.0.0.1")
    assert "another fleet service runs on" in again.communicate(timeout=60)[1]
    assert again.returncode == 4
    service.send_signal(signal.SIGINT)
    assert service.wait(60) == 130


@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (("--store", "mysql://x/y"), 2, "is not of the form sqlite:///PATH or postgresql://"),
        (("--store", "postgresql://edgekit@127.0.0.1:1/fleet"), 5, "does not answer"),
        (("--store", "sqlite:////dev/null/fleet.db"), 4, "cannot be written"),
        (("--site", "X"), 2, "is not 3 to 64 characters"),
        (("--listen", "nowhere"), 2, "is not of the form HOST:PORT"),
    ],
    ids=["store-form", "store-away", "store-place", "site", "listen"],
)
def test_what_is_wrong_is_told(tmp_path: Path, options: tuple[str, ...], code: int, message: str) -> None:
    process = _start(tmp_path, "mqtt://127.0.0.1", *options)
    error = process.communicate(timeout=120)[1]
    assert message in error
    assert "Traceback" not in error
    assert process.returncode == code


def test_the_password_of_a_store_is_never_shown(tmp_path: Path) -> None:
    process = _start(tmp_path, "mqtt://127.0.0.1", "--store", "postgresql://me:sesame@127.0.0.1:1/fleet")
    out, error = process.communicate(timeout=120)
    assert process.returncode == 5
    assert "sesame" not in out + error
