"""Reports as they come."""

from collections.abc import Callable
from typing import Any

import pytest

from edgekit.fleet.store import Arrived
from edgekit.fleet.wire import decode_report
from edgekit_agent.protocol import Report
from tests.sdk.fleet.store.cases import NOW_MS


@pytest.fixture(scope="session")
def arrived(make_report: Callable[..., Report]) -> Callable[..., Arrived]:
    """A report as it came over the wire, by default live, of a clock that is right."""

    def make(
        seq: int = 1, *, device: str = "dev-1", site: str = "default", at_ms: int = NOW_MS, **fields: Any
    ) -> Arrived:
        report = make_report(**{"seq": seq, "ts_ms": at_ms, **fields})
        return Arrived(site, device, at_ms, decode_report(report.to_bytes()))

    return make
