"""Simulated devices at a production broker: each with its own certificate, or many on the service's."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edgekit.fleet.security import Pki
from edgekit.fleet.security.client import Client
from edgekit.fleet.security.running import ProductionBroker
from tests.sdk.fleet.security.conftest import PASSPHRASE

pytestmark = pytest.mark.slow
NAMES = {f"sim-{number:05d}" for number in range(3)}


def _simulate(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "edgekit.cli.main", "fleet", "simulate", "--json", "-n", "3", *words]
    environment = {**os.environ, "EDGEKIT_PASSPHRASE": PASSPHRASE.decode()}
    options = ["--for", "3", "--window", "1", "--drain", "5"]
    return subprocess.run(
        [*command, *options], capture_output=True, text=True, check=False, timeout=120, env=environment
    )


def _heard(client: Client) -> set[str]:
    return {topic.split("/")[3] for topic, _ in client.received if topic.endswith("/tele")}


def _serials(pki: Pki) -> set[str]:
    return {one.serial for one in pki.records() if one.common_name in NAMES}


def test_each_device_shows_its_own_certificate(pki: Pki, production: ProductionBroker) -> None:
    address = ("--broker", f"mqtts://127.0.0.1:{production.listening.port}", "--pki", str(pki.folder))
    none = _simulate(*address)
    assert (none.returncode, none.stdout) == (4, "")
    assert "'sim-00000' and 2 more of the simulated devices have no certificate" in none.stderr
    with Client(production.service_place(), "service") as host:
        host.subscribe(["ek/1/#"])
        done = _simulate(*address, "--enroll")
        assert done.returncode == 0, done.stderr
        summary = json.loads(done.stdout)
        assert (summary["failures"], summary["acked"], summary["connected"]) == ({}, summary["made"], 3)
        assert _heard(host) == NAMES  # the rules let a device publish only what is of its certificate's name
    made = _serials(pki)
    assert len(made) == len(NAMES)
    assert _simulate(*address, "--enroll").returncode == 0
    assert _serials(pki) == made


def test_devices_on_one_connection_share_the_services_certificate(pki: Pki, production: ProductionBroker) -> None:
    mine = pki.folder / "hosts" / "main"
    place = production.service_place()
    with Client(place, "service") as host:
        host.subscribe(["ek/1/#"])
        done = _simulate(
            "--broker", f"mqtts://127.0.0.1:{place.port}", "--multiplex", "3", "--ca", str(mine / "ca.pem"),
            "--cert", str(mine / "cert.pem"), "--key", str(mine / "key.pem"),
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert _heard(host) == NAMES


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (("--broker", "mqtts://127.0.0.1:1", "--multiplex", "2"), "share its certificate"),
        (("--broker", "mqtt://127.0.0.1:1"), "needs mqtts://"),
        (("--broker", "mqtts://127.0.0.1:1", "--cert", "x"), "take one"),
    ],
)
def test_what_does_not_go_together_is_said(tmp_path: Path, words: tuple[str, ...], told: str) -> None:
    done = _simulate(*words, "--pki", str(tmp_path))
    assert done.returncode == 2
    assert told in done.stderr
