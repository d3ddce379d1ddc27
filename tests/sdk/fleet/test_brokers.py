"""The two brokers that this machine can run for itself."""

import json
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from edgekit.errors import DeviceError, EnvironmentMissingError, UsageError
from edgekit.fleet import FleetClient, _brokers
from edgekit.fleet._brokers import Broker, MosquittoBroker, choose_engine, free_port, running
from edgekit.fleet._url import parse
from edgekit_agent.protocol import State

pytestmark = pytest.mark.slow
STATE = "ek/1/default/dev-one/state"


def _accepts(url: str) -> bool:
    broker = parse(url)
    with socket.socket() as probe:
        return probe.connect_ex((broker.host, broker.port)) == 0


def test_it_passes_messages_on_and_its_port_is_free_afterwards(engine: str) -> None:
    with running(engine=engine) as broker:
        assert broker.alive()
        assert broker.url.startswith("mqtt://127.0.0.1:")
        with FleetClient(broker.url) as client:
            client.publish(STATE, State(state="online", birth=1).to_bytes())
            assert next(client.messages(5.0)).message == State(state="online", birth=1)
    assert not _accepts(broker.url)


def test_it_ends_with_the_process_that_runs_it_even_when_that_is_killed(engine: str) -> None:
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "broker", "--port", "0", "--engine", engine, "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as run:
        assert run.stdout is not None
        url = json.loads(run.stdout.readline())["url"]
        assert _accepts(url)
        run.kill()
    end = time.monotonic() + 20
    while _accepts(url):
        assert time.monotonic() < end, "the broker was left behind"
        time.sleep(0.05)


def test_the_port_asked_for_is_the_port_it_has(engine: str) -> None:
    port = free_port()
    with running(port, engine) as broker:
        assert broker.url == f"mqtt://127.0.0.1:{port}"


def test_it_listens_on_loopback_only(broker: Broker) -> None:
    port = parse(broker.url).port
    listening = Path("/proc/net/tcp").read_text().splitlines()[1:]
    addresses = {line.split()[1] for line in listening if line.split()[3] == "0A"}
    assert {address for address in addresses if address.endswith(f":{port:04X}")} == {f"0100007F:{port:04X}"}


def test_a_port_in_use_is_named(engine: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with (
            pytest.raises(DeviceError, match=f"port {port} on 127.0.0.1 cannot be had") as caught,
            running(port, engine),
        ):
            pass
    assert "--port" in caught.value.__notes__[0]


def test_mosquitto_keeps_retained_messages_in_its_folder(tmp_path: Path) -> None:
    if _brokers.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    import paho.mqtt.publish

    for _ in range(2):
        with running(engine="mosquitto", data=tmp_path) as broker:
            if not (tmp_path / "mosquitto.db").exists():
                payload = State(state="online").to_bytes()
                port = parse(broker.url).port
                paho.mqtt.publish.single(STATE, payload, qos=1, retain=True, hostname="127.0.0.1", port=port)
                continue
            with FleetClient(broker.url) as client:
                assert next(client.messages(5.0)).device == "dev-one"


def test_a_broker_that_dies_is_noticed() -> None:
    if _brokers.find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    with running(engine="mosquitto") as broker:
        assert isinstance(broker, MosquittoBroker)
        broker.process.send_signal(signal.SIGKILL)
        end = time.monotonic() + 5
        while broker.alive() and time.monotonic() < end:
            time.sleep(0.02)
        assert not broker.alive()


def test_an_unknown_engine_is_a_usage_error() -> None:
    with pytest.raises(UsageError, match="no broker engine 'emqx'; there are: auto, mosquitto, iotcore"):
        choose_engine("emqx")


@pytest.mark.parametrize("wanted", ["auto", "mosquitto", "iotcore"])
def test_no_broker_installed_names_both_ways(monkeypatch: pytest.MonkeyPatch, wanted: str) -> None:
    monkeypatch.setattr(_brokers, "ENGINES", {"mosquitto": lambda: False, "iotcore": lambda: False})
    with pytest.raises(EnvironmentMissingError, match="installed") as caught:
        choose_engine(wanted)
    assert "mosquitto" in caught.value.__notes__[0]
    assert "edgekit-sdk[broker]" in caught.value.__notes__[0]
