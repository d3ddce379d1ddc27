"""Messages as devices send them, real brokers, and stores of both kinds."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from edgekit.errors import EnvironmentMissingError
from edgekit.fleet._brokers import Broker, choose_engine, running
from edgekit.fleet.store import Store, open_store
from edgekit_agent.protocol import ExpHistogram, Latency, Report
from tests.sdk.fleet.postgresql import Server, serving

KINDS_OF_STORE = ("sqlite", pytest.param("postgresql", marks=pytest.mark.slow))


@pytest.fixture(scope="session")
def make_report() -> Callable[..., Report]:
    """A report of `values` (seconds of the infer stage); any field can be given by name."""

    def make(values: tuple[float, ...] = (0.001, 0.002), **fields: Any) -> Report:
        infer = ExpHistogram.of(values, 4)
        empty = ExpHistogram(4)
        known = {
            "ts_ms": 1_700_000_000_000,
            "boot": "b1",
            "seq": 1,
            "model": "kws",
            "version": "1.2.0",
            "artifact": "sha256:00",
            "runtime": "tflite-runtime 2.14.0",
            "executed_on": ("CPU",),
            "window_s": 1.0,
            "inferences": len(values),
            "latency": Latency(pre=empty, infer=infer, post=empty, e2e=infer),
        }
        return Report(**{**known, **fields})

    return make


@pytest.fixture(params=["mosquitto", "iotcore"])
def engine(request: pytest.FixtureRequest) -> str:
    """Each broker engine that is here."""
    try:
        return choose_engine(request.param)
    except EnvironmentMissingError as exc:
        pytest.skip(f"{exc}: {exc.__notes__[0]}")


@pytest.fixture
def broker(engine: str) -> Iterator[Broker]:
    """A running broker of each engine, on a free port."""
    with running(engine=engine) as run:
        yield run


@pytest.fixture(scope="session")
def postgresql() -> Iterator[Server]:
    """A PostgreSQL that runs for the tests of this process."""
    with serving() as server:
        yield server


@pytest.fixture(params=KINDS_OF_STORE)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of an empty store of each kind: whatever uses a store is tested on both."""
    with ExitStack() as held:
        if request.param == "sqlite":
            yield f"sqlite:///{tmp_path}/fleet.db"
        else:
            server: Server = request.getfixturevalue("postgresql")
            yield held.enter_context(server.database())


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store of each kind."""
    with open_store(url) as opened:
        yield opened
