"""Authorities in a folder, and a real mosquitto that trusts them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from edgekit.fleet._brokers import find_mosquitto, free_port
from edgekit.fleet.security import Issued, Pki
from edgekit.fleet.security.client import Place
from edgekit.fleet.security.mosquitto import Listening
from edgekit.fleet.security.running import ProductionBroker, running

PASSPHRASE = b"correct horse"


def passphrase(_authority: str) -> bytes:
    return PASSPHRASE


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    """Authorities of a fleet whose broker is this machine."""
    return Pki.create(tmp_path / "pki", passphrase, names=["127.0.0.1", "localhost"])


@pytest.fixture
def production(pki: Pki) -> Iterator[ProductionBroker]:
    """The broker of `pki`, running."""
    if find_mosquitto() is None:
        pytest.skip("mosquitto is not installed: apt-get install mosquitto")
    with running(pki.folder, Listening(port=free_port(), service_port=free_port())) as broker:
        yield broker


def place(broker: ProductionBroker, issued: Issued) -> Place:
    """How a device connects."""
    return Place(
        host="127.0.0.1", port=broker.listening.port, ca=issued.ca, certificate=issued.certificate, key=issued.key
    )
