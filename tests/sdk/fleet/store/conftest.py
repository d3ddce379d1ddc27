"""Stores of both kinds, and reports as they come."""

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.fleet.store import Arrived, Store, open_store
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import Report
from tests.sdk.fleet.store.cases import NOW_MS
from tests.sdk.fleet.store.postgresql import cluster


@pytest.fixture(scope="session")
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL that runs for the tests."""
    # not pytest's own folder: an unprivileged user may not go through it, and other runs reset what it is allowed
    with tempfile.TemporaryDirectory(prefix="edgekit-postgresql-") as name:
        folder = Path(name)
        folder.chmod(0o711)
        with cluster(folder) as url:
            yield url


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.slow)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store of each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path}/fleet.db"
        return
    import pg8000.dbapi

    server = request.getfixturevalue("postgresql")
    host, _, _ = server.rpartition("/")
    name = f"fleet_{abs(hash(request.node.nodeid))}"
    port = int(host.rpartition(":")[2])
    with contextlib.closing(pg8000.dbapi.connect("edgekit", host="127.0.0.1", port=port, database="postgres")) as made:
        made.autocommit = True
        with contextlib.closing(made.cursor()) as cursor:
            cursor.execute(f"CREATE DATABASE {name}")
            yield f"{host}/{name}"
            cursor.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    with open_store(url) as opened:
        yield opened


@pytest.fixture(scope="session")
def arrived(make_report: Callable[..., Report]) -> Callable[..., Arrived]:
    """A report as it came over the wire, by default live, of a clock that is right."""

    def make(
        seq: int = 1, *, device: str = "dev-1", site: str = "default", at_ms: int = NOW_MS, **fields: Any
    ) -> Arrived:
        report = make_report(**{"seq": seq, "ts_ms": at_ms, **fields})
        return Arrived(site, device, at_ms, decode_report(report.to_bytes()))

    return make
