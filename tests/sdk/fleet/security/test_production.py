"""A real mosquitto with certificates: what gets in, what gets through, and what a revocation does."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.errors import DeviceError
from edgekit.fleet.security import Pki, Role
from edgekit.fleet.security.checking import Setting, check, probes
from edgekit.fleet.security.client import Client, Place
from edgekit.fleet.security.running import ProductionBroker
from edgekit_agent.protocol import HOST, Kind, device_topic
from tests.sdk.fleet.security.conftest import PASSPHRASE, place

pytestmark = pytest.mark.slow


def _setting(pki: Pki, production: ProductionBroker, folder: Path) -> Setting:
    first, second = probes(pki, folder, "default")
    devices = Place(host="127.0.0.1", port=production.listening.port, ca=first.ca)
    return Setting(devices=devices, services=production.service_place(), first=first, second=second)


def test_every_round_trip_is_as_it_must_be(pki: Pki, production: ProductionBroker, tmp_path: Path) -> None:
    found = check(_setting(pki, production, tmp_path / "probes"))
    assert [one for one in found if not one.ok] == []
    assert len(found) == 4 + 2 * len(Kind) + 3 + len(Kind) + 2


@pytest.mark.parametrize(
    ("rule", "what"),
    [
        ("pattern write ek/1/+/+/desired", "a device publishes its own desired"),
        ("pattern write ek/1/+/$host/state", "a device publishes the service's state"),
        ("pattern read ek/1/#", "a device that subscribed to everything"),
    ],
)
def test_a_hole_in_the_rules_is_found(
    pki: Pki, production: ProductionBroker, tmp_path: Path, rule: str, what: str
) -> None:
    with (pki.folder / "broker" / "acl").open("a") as rules:
        rules.write(f"\n{rule}\n")
    setting = _setting(pki, production, tmp_path / "probes")
    production.process.send_signal(signal.SIGHUP)
    wrong = {one.what for one in check(setting) if not one.ok}
    assert what in wrong


def test_devices_hear_the_service_and_not_each_other(pki: Pki, production: ProductionBroker) -> None:
    first, second = pki.enroll("dev-1"), pki.enroll("dev-2")
    state = device_topic("default", HOST, Kind.STATE)
    with (
        Client(production.service_place(), "service") as host,
        Client(place(production, first), "dev-1") as one,
        Client(place(production, second), "dev-2") as other,
    ):
        host.publish(state, b'{"st":"online"}', retain=True)
        for client in (one, other):
            client.subscribe([state])
            assert client.saw(state, b'{"st":"online"}')
        other.subscribe(["#"])
        host.publish(device_topic("default", "dev-1", Kind.DESIRED), b"1", retain=True)
        host.publish(device_topic("default", "dev-2", Kind.DESIRED), b"2", retain=True)
        assert other.saw(device_topic("default", "dev-2", Kind.DESIRED), b"2")
        assert device_topic("default", "dev-1", Kind.DESIRED) not in [topic for topic, _ in other.received]
        # a retained one is not handed out to who asks later either
        other.subscribe([device_topic("default", "dev-1", Kind.DESIRED), state])
        host.publish(device_topic("default", "dev-2", Kind.DESIRED), b"3", retain=True)
        assert other.saw(device_topic("default", "dev-2", Kind.DESIRED), b"3")
        assert device_topic("default", "dev-1", Kind.DESIRED) not in [topic for topic, _ in other.received]


def test_a_revoked_device_is_thrown_off_and_does_not_come_back(pki: Pki, production: ProductionBroker) -> None:
    bad, good = pki.enroll("dev-1"), pki.enroll("dev-2")
    with Client(place(production, bad), "dev-1") as one, Client(place(production, good), "dev-2") as other:
        pki.revoke("dev-1")
        assert production.refresh()
        assert one.ended()
        with pytest.raises(DeviceError):
            Client(place(production, bad), "dev-1")
        assert other.connected
        other.publish(device_topic("default", "dev-2", Kind.TELE), b"still here")
    assert not production.refresh()
    again = pki.enroll("dev-1")
    assert production.refresh()
    with Client(place(production, again), "dev-1") as one:
        one.publish(device_topic("default", "dev-1", Kind.TELE), b"back")


def test_an_operator_reads_everything_and_writes_nothing(pki: Pki, production: ProductionBroker) -> None:
    alice = pki.issue(Role.OPERATOR, "alice")
    production.refresh()
    mine = Place(
        host="127.0.0.1", port=production.listening.service_port, ca=alice.ca, certificate=alice.certificate,
        key=alice.key,
    )  # fmt: skip
    topic = device_topic("default", "dev-1", Kind.COMMAND, "c1")
    with Client(production.service_place(), "service") as host, Client(mine, "alice") as operator:
        operator.subscribe(["ek/1/#"])
        host.subscribe(["ek/1/#"])
        operator.publish(topic, b"of alice")
        host.publish(topic, b"of the service")
        assert operator.saw(topic, b"of the service")
        assert host.saw(topic, b"of the service")
        assert (topic, b"of alice") not in host.received


def test_the_commands_from_authorities_to_a_checked_broker(tmp_path: Path) -> None:
    environment = {**os.environ, "EDGEKIT_PASSPHRASE": PASSPHRASE.decode()}

    def edgekit(*arguments: str, code: int = 0) -> str:
        done = subprocess.run(
            [sys.executable, "-m", "edgekit.cli.main", "fleet", *arguments], capture_output=True, text=True,
            check=False, cwd=tmp_path, env=environment, timeout=120,
        )  # fmt: skip
        assert done.returncode == code, done.stderr + done.stdout
        return done.stdout if code == 0 else done.stderr

    edgekit("pki", "init", "pki", "--name", "127.0.0.1")
    made = json.loads(edgekit("enroll", "pi-7", "pi-8", "--site", "lab", "--json"))["certificates"]
    assert [one["name"] for one in made] == ["pi-7", "pi-8"]
    assert "valid until" in edgekit("enroll", "pi-7", code=2)
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "broker", "--production", "pki"]
    with subprocess.Popen(
        [*command, "--port", "0", "--service-port", "0", "--json"], stdout=subprocess.PIPE, cwd=tmp_path,
        env=environment, text=True,
    ) as broker:  # fmt: skip
        try:
            assert broker.stdout is not None
            urls = json.loads(broker.stdout.readline())
            where = ("--broker", urls["url"], "--services", urls["services"], "--site", "lab", "--json")
            assert json.loads(edgekit("check", *where))["ok"]
            port = int(urls["url"].rpartition(":")[2])
            folder = tmp_path / "pki" / "devices" / "pi-7"
            mine = Place(
                host="127.0.0.1", port=port, ca=folder / "ca.pem", certificate=folder / "cert.pem",
                key=folder / "key.pem",
            )  # fmt: skip
            with Client(mine, "pi-7") as device:
                edgekit("revoke", "pi-7")
                assert device.ended(30)
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait(30)
    assert "pi-7" not in edgekit("pki", "ls")
    assert "did not answer" in edgekit("check", *where, code=5)


def test_a_broker_that_is_not_there_is_said(pki: Pki) -> None:
    nowhere = Place(host="127.0.0.1", port=1, ca=pki.folder / "ca" / "services.pem")
    with pytest.raises(DeviceError, match="did not answer"):
        Client(nowhere, "nobody")
