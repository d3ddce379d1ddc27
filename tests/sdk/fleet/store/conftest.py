"""Stores of both kinds, and reports as they come."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edgekit.fleet.store import Arrived, Store, open_store
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import Report
from tests.sdk.fleet.store.cases import NOW_MS


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/fleet.db"


@pytest.fixture
def store(url: str) -> Iterator[Store]:
    """An empty store."""
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
