"""A repository, its keys and a device's store, made anew for each test."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from edgekit.repo import Validity, init, serving
from edgekit_agent.fetch import pace
from tests.sdk.repo.shop import Shop


@pytest.fixture(scope="session")
def _first_shop(tmp_path_factory: pytest.TempPathFactory) -> Shop:
    shop = Shop(tmp_path_factory.mktemp("shop") / "first")
    shop.folder.mkdir()
    init(shop.repository, shop.keys, root=(2, 3), targets=(2, 2), validity=Validity(offline=365, online=14))
    trust = shop.store / "trust"
    trust.mkdir(parents=True)
    shutil.copy(shop.repository / "metadata" / "1.root.json", trust / "root.json")
    return shop


@pytest.fixture
def shop(_first_shop: Shop, tmp_path: Path) -> Shop:
    """An empty repository (2 of 3 root keys, 2 of 2 targets keys) read from its folder, and a device set up for it."""
    shutil.copytree(_first_shop.folder, tmp_path / "shop")
    return Shop(tmp_path / "shop")


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "PAUSES_S", (0.01, 0.02, 0.04))


@pytest.fixture
def served(shop: Shop) -> Iterator[Shop]:
    """The same, over HTTP."""
    with serving(shop.repository) as url:
        shop.url = url
        yield shop


@pytest.fixture
def first(rng: np.random.Generator) -> bytes:
    """A bundle of 300 kB that does not repeat itself."""
    return rng.bytes(300_000)


@pytest.fixture
def second(first: bytes, rng: np.random.Generator) -> bytes:
    """Its next version: something inserted in front, something changed in the middle."""
    return rng.bytes(123) + first[:150_000] + rng.bytes(5_000) + first[155_000:]
