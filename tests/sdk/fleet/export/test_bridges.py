"""Bridges over a real broker."""

import contextlib
import itertools
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from edgekit.cli.main import app
from edgekit.errors import EnvironmentMissingError, UsageError
from edgekit.fleet._brokers import choose_engine, running
from edgekit.fleet._url import parse
from edgekit.fleet.export.bridging import Bridge, run
from edgekit.fleet.export.homeassistant import HomeAssistantBridge
from edgekit.fleet.export.outlet import Outlet, Will
from edgekit.fleet.export.sparkplug import DataType, Metric, Payload, SparkplugBridge, decode, encode
from edgekit.fleet.export.sparkplug.node import REBIRTH
from edgekit.fleet.store import DeviceKey, Store
from edgekit_agent.errors import ConfigError, TransportError
from tests.sdk.fleet.postgresql import ON_SQLITE_ALONE

pytestmark = pytest.mark.slow
Fill = Callable[..., None]
Know = Callable[..., DeviceKey]


@pytest.fixture
def mosquitto() -> Iterator[str]:
    try:
        engine = choose_engine("mosquitto")
    except EnvironmentMissingError as exc:
        pytest.skip(f"{exc}: {exc.__notes__[0]}")
    with running(engine=engine) as broker:
        yield broker.url


@contextmanager
def _bridging(bridge: Bridge, store: Store, url: str) -> Iterator[threading.Event]:
    stop = threading.Event()
    thread = threading.Thread(target=run, args=(bridge, store, parse(url), stop))
    thread.start()
    try:
        yield stop
    finally:
        stop.set()
        thread.join(30)
        assert not thread.is_alive()


_EARS = itertools.count()


class _Ear:
    """Another client of the broker: what it hears, in order."""

    def __init__(self, outlet: Outlet) -> None:
        self.outlet = outlet
        self.heard: list[tuple[str, bytes]] = []

    def until(self, done: Callable[[list[tuple[str, bytes]]], bool]) -> list[tuple[str, bytes]]:
        """Listen until `done`, for as long as a busy machine may take."""
        end = time.monotonic() + 60
        while not done(self.heard):
            assert time.monotonic() < end, [topic for topic, _ in self.heard]
            message = self.outlet.received(0.5)
            if message is not None:
                self.heard.append(message)
        return self.heard


@contextmanager
def _listening(url: str, *filters: str) -> Iterator[_Ear]:
    with Outlet(parse(url), f"ear-{next(_EARS)}", Will("ear/gone", b""), filters) as outlet:
        yield _Ear(outlet)


def _retained(url: str, *filters: str) -> dict[str, bytes]:
    """What the broker keeps: a marker comes back after it."""
    with _listening(url, "ear/marker", *filters) as ear:
        time.sleep(0.3)
        ear.outlet.publish("ear/marker", b"x")
        return {
            topic: body for topic, body in ear.until(lambda heard: heard[-1:] == [("ear/marker", b"x")])[:-1] if body
        }


# --- Home Assistant


def test_home_assistant_discovers_models_and_figures(store: Store, fill: Fill, known: Know, mosquitto: str) -> None:
    known("dev-1")
    known("dev-2", presence="offline")
    with _listening(mosquitto, "homeassistant/#", "edgekit/#") as ear:
        with _bridging(HomeAssistantBridge(store), store, mosquitto):
            ear.until(lambda heard: ("edgekit/default/dev-1/availability", b"online") in heard)
            fill("dev-1", seq=1, values=(0.01,) * 9, model="kws", temperature_c=48.5)
            fill("dev-1", seq=2, history=1)
            heard = dict(ear.until(lambda heard: "edgekit/default/dev-1/model/kws" in dict(heard)))
        ear.until(lambda heard: heard[-1] == ("edgekit/bridge/availability", b"offline"))
    assert heard["edgekit/default/dev-2/availability"] == b"offline"
    config = json.loads(heard["homeassistant/device/edgekit_default_dev-1_kws/config"])
    assert config["o"]["name"] == "EdgeKit"
    assert config["dev"]["ids"] == ["edgekit_default_dev-1"]
    assert config["dev"]["mdl"] == "Raspberry Pi 5"
    assert [one["t"] for one in config["avty"]] == ["edgekit/bridge/availability", "edgekit/default/dev-1/availability"]
    assert config["avty_mode"] == "all"
    assert config["stat_t"] == "edgekit/default/dev-1/model/kws"
    p99 = config["cmps"]["infer_p99_ms"]
    assert (p99["p"], p99["unit_of_meas"], p99["dev_cla"], p99["exp_aft"]) == ("sensor", "ms", "duration", 60)
    assert config["cmps"]["temperature_c"]["dev_cla"] == "temperature"
    told = json.loads(heard["edgekit/default/dev-1/model/kws"])
    assert told["infer_p50_ms"] == pytest.approx(10.0, rel=0.022)
    assert (told["temperature_c"], told["version"]) == (48.5, "1.2.0")
    for part in config["cmps"].values():
        assert part["val_tpl"].split("value_json.")[1].split(" ")[0] in told
    assert max(len(body) for topic, body in heard.items() if topic.startswith("homeassistant/")) < 4096
    kept = _retained(mosquitto, "homeassistant/#", "edgekit/#")
    assert "edgekit/default/dev-1/model/kws" not in kept
    assert kept["edgekit/bridge/availability"] == b"offline"
    assert store.counters.by_source()["bridge-homeassistant"]["published"] > 0


def test_what_was_forgotten_is_taken_away_and_what_is_of_others_is_left(
    store: Store, fill: Fill, known: Know, mosquitto: str
) -> None:
    key = known("dev-1")
    known("dev-2")
    with _listening(mosquitto, "edgekit/#") as ear:
        with _bridging(HomeAssistantBridge(store), store, mosquitto):
            ear.until(lambda heard: any(topic.endswith("dev-1/availability") for topic, _ in heard))
            fill("dev-1", seq=1)
            ear.until(lambda heard: any("/model/" in topic for topic, _ in heard))
        assert "homeassistant/device/edgekit_default_dev-1_kws/config" in _retained(mosquitto, "homeassistant/#")
        other = b'{"o":{"name":"zigbee2mqtt"},"avty":[]}'
        ear.outlet.publish("homeassistant/device/0x1/config", other, retain=True)
        ear.outlet.settle()
        store.devices.forget(key)
        bridge = HomeAssistantBridge(store)  # a new one: what it once told stands with the broker only
        with _bridging(bridge, store, mosquitto):
            ear.until(lambda heard: ("edgekit/default/dev-1/availability", b"") in heard)
    kept = _retained(mosquitto, "homeassistant/#", "edgekit/+/+/availability")
    assert set(kept) == {
        "homeassistant/device/edgekit_default_dev-2/config",
        "homeassistant/device/0x1/config",
        "edgekit/default/dev-2/availability",
    }


# --- Sparkplug


def _payloads(heard: list[tuple[str, bytes]]) -> list[tuple[str, Payload]]:
    return [(topic.split("/", 2)[2], decode(body)) for topic, body in heard if "/STATE/" not in topic]


def _has(kind: str) -> Callable[[list[tuple[str, bytes]]], bool]:
    return lambda heard: any(f"/{kind}/" in topic for topic, _ in heard)


def test_sparkplug_tells_births_data_history_and_deaths(store: Store, fill: Fill, known: Know, mosquitto: str) -> None:
    key = known("dev-1")
    with _listening(mosquitto, "spBv1.0/#") as ear:
        with _bridging(SparkplugBridge(store), store, mosquitto):
            ear.until(_has("NBIRTH"))
            fill("dev-1", seq=1, values=(0.01, 0.02))
            ear.until(_has("DBIRTH"))
            fill("dev-1", seq=2, values=(0.01,))
            ear.until(_has("DDATA"))
            late_ms = int(time.time() * 1000) - 300_000
            fill("dev-1", seq=3, values=(0.04,), history=1, ts_ms=late_ms)
            ear.until(lambda heard: sum("/DDATA/" in topic for topic, _ in heard) == 2)
            store.devices.put_presence(key, "offline", "connection-lost", 1)
            ear.until(_has("DDEATH"))
        heard = _payloads(ear.until(_has("NDEATH")))
    kinds = [topic for topic, _ in heard]
    assert kinds == [
        "NBIRTH/fleet", "DBIRTH/fleet/default.dev-1", "DDATA/fleet/default.dev-1", "DDATA/fleet/default.dev-1",
        "DDEATH/fleet/default.dev-1", "NDEATH/fleet",
    ]  # fmt: skip
    assert [payload.seq for _, payload in heard] == [0, 1, 2, 3, 4, None]
    birth, live, late = (payload for _, payload in heard[1:4])
    named = {one.alias: one.name for one in birth.metrics}
    values = {one.name: one.value for one in birth.metrics}
    assert values["kws/version"] == "1.2.0"
    assert values["kws/inferences"] == 2
    assert json.loads(values["kws/infer_histogram"])["s"] == 4  # type: ignore[arg-type]
    assert {named[one.alias] for one in live.metrics} == set(values)
    assert not any(one.historical for one in live.metrics)
    assert all(one.historical for one in late.metrics)
    assert heard[0][1].metrics[0].value == heard[-1][1].metrics[0].value
    assert _retained(mosquitto, "spBv1.0/#") == {}


@ON_SQLITE_ALONE
def test_a_rebirth_is_given_when_asked_for(store: Store, fill: Fill, known: Know, mosquitto: str) -> None:
    known("dev-1")
    command = encode(Payload(metrics=(Metric(name=REBIRTH, datatype=DataType.BOOLEAN, value=True),)))
    with _listening(mosquitto, "spBv1.0/#") as ear, _bridging(SparkplugBridge(store), store, mosquitto):
        ear.until(_has("NBIRTH"))
        fill("dev-1", seq=1)
        ear.until(_has("DBIRTH"))
        ear.outlet.publish("spBv1.0/EdgeKit/NCMD/fleet", b"\xff\xff")
        for _ in range(3):  # a storm is one rebirth
            ear.outlet.publish("spBv1.0/EdgeKit/NCMD/fleet", command)
        heard = ear.until(lambda heard: sum("/DBIRTH/" in topic for topic, _ in heard) == 2)
        births = [
            payload for topic, payload in _payloads([one for one in heard if "NCMD" not in one[0]]) if "NBIRTH" in topic
        ]
    assert [birth.seq for birth in births] == [0, 0]
    assert births[0].metrics[0].value == births[1].metrics[0].value
    assert store.counters.by_source()["bridge-sparkplug"]["rejected"] == 1


def test_while_the_host_is_away_reports_wait_and_are_history_afterwards(
    store: Store, fill: Fill, known: Know, mosquitto: str
) -> None:
    known("dev-1")
    state = "spBv1.0/STATE/scada"
    bridge = SparkplugBridge(store, primary_host="scada")
    with _listening(mosquitto, "spBv1.0/EdgeKit/#") as ear, _bridging(bridge, store, mosquitto):
        for seq in range(1, 4):
            fill("dev-1", seq=seq, at_ms=int(time.time() * 1000) - 120_000 + 1000 * seq)
        assert ear.outlet.received(3.0) is None
        ear.outlet.publish(state, b'{"online":true,"timestamp":10}', retain=True)
        ear.until(lambda heard: sum("/DDATA/" in topic for topic, _ in heard) == 3)
        ear.outlet.publish(state, b'{"online":false,"timestamp":11}', retain=True)
        heard = _payloads(ear.until(_has("NDEATH")))
    assert [one.historical for topic, one in ((t, p.metrics[0]) for t, p in heard if "DDATA" in t)] == [True] * 3


@ON_SQLITE_ALONE
def test_a_new_connection_has_a_new_number_and_goes_on_where_it_stopped(
    store: Store, fill: Fill, known: Know, mosquitto: str
) -> None:
    known("dev-1")
    with _listening(mosquitto, "spBv1.0/#") as ear:
        for round_number in range(2):
            with _bridging(SparkplugBridge(store), store, mosquitto):
                ear.until(lambda heard: sum("/NBIRTH/" in topic for topic, _ in heard) == round_number + 1)  # noqa: B023
                fill("dev-1", seq=round_number + 1)
                ear.until(lambda heard: sum("/DBIRTH/" in topic for topic, _ in heard) == round_number + 1)  # noqa: B023
        heard = _payloads(ear.until(lambda heard: sum("/NDEATH/" in topic for topic, _ in heard) == 2))
    assert [payload.metrics[0].value for topic, payload in heard if "NBIRTH" in topic] == [0, 1]
    assert store.counters.by_source()["bridge-sparkplug"]["live"] == 2


def test_names_that_sparkplug_forbids_and_brokers_that_are_not_there_are_told(store: Store) -> None:
    with pytest.raises(UsageError, match="group 'a/b'"):
        SparkplugBridge(store, group="a/b")
    with pytest.raises(TransportError, match="did not answer"):
        run(SparkplugBridge(store), store, parse("mqtt://127.0.0.1:9"), threading.Event(), once=True)


@ON_SQLITE_ALONE
def test_a_bridge_that_is_killed_dies_by_its_will_and_one_that_is_stopped_says_farewell(
    store: Store, known: Know, mosquitto: str, tmp_path: Path
) -> None:
    known("dev-1")
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "bridge", "sparkplug", "--broker", mosquitto]
    environment = {**os.environ, "EDGEKIT_FLEET_STORE": str(store.engine.url)}
    codes = []
    with _listening(mosquitto, "spBv1.0/#") as ear, (tmp_path / "log").open("w") as log:
        for round_number, end in enumerate((signal.SIGKILL, signal.SIGTERM), 1):
            process = subprocess.Popen(command, env=environment, stderr=log)
            try:
                ear.until(lambda heard: sum("/NBIRTH/" in topic for topic, _ in heard) == round_number)  # noqa: B023
                process.send_signal(end)
                ear.until(lambda heard: sum("/NDEATH/" in topic for topic, _ in heard) == round_number)  # noqa: B023
            finally:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(30)
                process.kill()
                codes.append(process.wait())
        told = [(topic, payload.metrics[0].value) for topic, payload in _payloads(ear.heard)]
    assert codes == [-signal.SIGKILL, 0]
    assert told == [("NBIRTH/fleet", 0), ("NDEATH/fleet", 0), ("NBIRTH/fleet", 1), ("NDEATH/fleet", 1)]


def test_secrets_are_taken_from_private_files_only(store: Store, tmp_path: Path) -> None:
    file = tmp_path / "password"
    file.write_text("secret\n")
    file.chmod(0o644)
    arguments = ["fleet", "bridge", "homeassistant", "--store", str(store.engine.url), "--password-file", str(file)]
    with pytest.raises(ConfigError, match="everybody may read"):
        CliRunner().invoke(app, [*arguments, "--broker", "mqtt://me@127.0.0.1:9"], catch_exceptions=False)
    file.chmod(0o600)
    with pytest.raises(UsageError, match="needs a user"):
        CliRunner().invoke(app, [*arguments, "--broker", "mqtt://127.0.0.1:9"], catch_exceptions=False)
    with pytest.raises(TransportError, match="did not answer") as caught:
        CliRunner().invoke(app, [*arguments, "--broker", "mqtt://me@127.0.0.1:9"], catch_exceptions=False)
    assert "secret" not in str(caught.value)
